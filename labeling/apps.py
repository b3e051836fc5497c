from django.apps import AppConfig


class LabelingConfig(AppConfig):
    name = "labeling"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from annotate.operating import metrics

        from . import gauges

        metrics.also_tell(gauges.figures)
