from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0005_notice'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='user',
            options={'permissions': [('suspend_user', 'Can suspend and restore user')]},
        ),
    ]
