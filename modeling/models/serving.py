from django.db import models
from django.urls import reverse

from annotate.models import Project

from .evaluation import Evaluation, On
from .job import Job, JobQuerySet
from .run import Run


class Form(models.TextChoices):
    """How what a run made is written out."""

    MERGED = "merged", "Merged, 16 bits"
    EIGHT = "8bit", "Merged, 8 bits"
    FOUR = "4bit", "Merged, 4 bits"
    LORA = "lora", "Adapter alone"


class Way(models.TextChoices):
    """How what was written out is asked."""

    SERVER = "server", "A server"
    FOLDER = "folder", "The folder itself"


class Serving(Job):
    """What a run made, written out as a folder that a server loads."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="servings")
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="servings")
    form = models.CharField(max_length=8, choices=Form)
    folder = models.CharField(max_length=400, blank=True, help_text="Where it was wanted; blank: among our data.")
    told = models.JSONField(default=dict, help_text="How it is asked, in the words that it was trained on.")
    deleted = models.DateTimeField(null=True, blank=True, help_text="Its folder is gone since.")

    objects = JobQuerySet["Serving"].as_manager()

    class Meta(Job.Meta):
        abstract = False

    def __str__(self) -> str:
        return f"{self.run} as {self.get_form_display().lower()}"

    def get_absolute_url(self) -> str:
        return f"{reverse('serving', args=[self.project.slug, self.run_id])}#form-{self.pk}"


class ServedCheck(Job):
    """Whether what was written out answers as the run did, post by post."""

    serving = models.ForeignKey(Serving, on_delete=models.CASCADE, related_name="checks")
    way = models.CharField(max_length=8, choices=Way)
    url = models.CharField(max_length=400, blank=True, help_text="Of a server.")
    model = models.CharField(max_length=200, blank=True, help_text="As the server calls it.")
    split = models.CharField(max_length=12, choices=On)
    against = models.ForeignKey(
        Evaluation, on_delete=models.CASCADE, null=True, blank=True, related_name="+", help_text="Of the run itself."
    )
    asked = models.ForeignKey(
        Evaluation, on_delete=models.CASCADE, null=True, blank=True, related_name="+", help_text="Of the folder."
    )
    told = models.JSONField(default=dict, help_text="All figures, see likeness.py.")

    objects = JobQuerySet["ServedCheck"].as_manager()

    class Meta(Job.Meta):
        abstract = False

    def __str__(self) -> str:
        return f"Check {self.pk}"
