from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('gateway', '0011_kyma_failed'),
    ]

    operations = [
        migrations.AlterField(
            model_name='apirequest',
            name='outcome',
            field=models.CharField(choices=[('finished', 'finished'), ('empty', 'no content at all'), ('client-gone', 'the client went away'), ('upstream-failed', 'the provider failed'), ('kyma-failed', "a fault of Kyma's, or its restart"), ('refused', 'refused before any provider was asked'), ('replayed', 'answered before, under the same Idempotency-Key'), ('lost', 'it could not be settled, or its process died')], max_length=16),
        ),
    ]
