from django.apps import AppConfig


class ModelingConfig(AppConfig):
    name = "modeling"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from annotate.operating import measuring as room
        from annotate.operating import metrics
        from annotate.operating import pruning as clean_up

        from . import gauges, measuring, pruning

        metrics.also_tell(gauges.figures)
        room.also_measure(shared=True, take=measuring.of_all)
        room.also_measure(shared=False, take=measuring.of_own)
        clean_up.also_by(pruning.rules)
        clean_up.also_needed(pruning.still_named)
