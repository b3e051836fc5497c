from django.apps import AppConfig


class AnnotateConfig(AppConfig):
    name = "annotate"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from .operating import figures, metrics, task_log

        metrics.also_tell(figures.figures)
        task_log.listen()
