from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0010_plain_help_texts'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='apikey',
            options={
                'permissions': [('disable_apikey', 'Can disable and revoke API key')],
                'verbose_name': 'API key',
            },
        ),
    ]
