import django.db.models.functions.text
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_key_rules'),
    ]

    operations = [
        migrations.CreateModel(
            name='DisposableDomain',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('domain', models.CharField(help_text='As example.com; what lies below it counts too.', max_length=253, unique=True)),
                ('is_refused', models.BooleanField(default=True, help_text='Off: addresses in this domain are accepted.')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('domain', django.db.models.functions.text.Lower('domain'))), name='domain_is_lower_case')],
            },
        ),
    ]
