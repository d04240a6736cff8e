from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('gateway', '0009_template_tokens_of_route'),
    ]

    operations = [
        migrations.AlterField(
            model_name='apirequest',
            name='outcome',
            field=models.CharField(choices=[('finished', 'finished'), ('empty', 'no content at all'), ('client-gone', 'the client went away'), ('upstream-failed', 'the provider failed'), ('refused', 'refused before any provider was asked'), ('replayed', 'answered before, under the same Idempotency-Key'), ('lost', 'the process that served it died')], max_length=16),
        ),
    ]
