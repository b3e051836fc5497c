from django.apps import AppConfig


class AnnotateConfig(AppConfig):
    name = "annotate"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from .operating import figures, given, metrics, task_log  # noqa: F401 - one that Django's check asks

        metrics.also_tell(figures.figures)
        task_log.listen()
