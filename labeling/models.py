import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any, Self

from django.db import models, transaction
from django.db.models import F, Sum
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from annotate.heartbeat import is_unheard, unheard
from annotate.models import Post, Project, User, Vote, Voter

# A worker that has not been heard of for this long is taken for dead, and its run can be taken up by another.
SILENCE = timedelta(seconds=30)
# So much later than announced, a run that waits for its provider is not being looked at any more.
OVERDUE = timedelta(minutes=5)
ZERO = Decimal(0)


class RunState(models.TextChoices):
    QUEUED = "queued", "Waiting"
    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    DONE = "done", "Done"
    CANCELLED = "cancelled", "Cancelled"
    FAILED = "failed", "Failed"


class Mode(models.TextChoices):
    LIVE = "live", "One by one, at once"
    BATCH = "batch", "In batches, within a day"


class Asked(models.TextChoices):
    NOTHING = "", "Nothing"
    PAUSE = "pause", "Pause"
    CANCEL = "cancel", "Cancel"


SILENT = models.Q(unheard(SILENCE), state=RunState.RUNNING, waits_until=None)


class VotingRunQuerySet(models.QuerySet["VotingRun"]):
    def claimable(self) -> Self:
        is_due = models.Q(waits_until__lte=Now()) | models.Q(waits_until__gt=Now() + OVERDUE)  # that clock was put back
        return self.filter(models.Q(state=RunState.QUEUED) | SILENT | models.Q(is_due, state=RunState.RUNNING))

    def silent(self) -> Self:
        overdue = models.Q(state=RunState.RUNNING, waits_until__lt=Now() - OVERDUE)
        return self.filter(SILENT | overdue)

    def under_way(self) -> Self:
        return self.filter(state__in=[RunState.QUEUED, RunState.RUNNING, RunState.PAUSED])


class VotingRun(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="voting_runs")
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    posts = models.JSONField(default=dict, blank=True, help_text="Which posts, as the filters in a list's address.")
    mode = models.CharField(max_length=8, choices=Mode, default=Mode.LIVE)
    limit = models.PositiveIntegerField(null=True, blank=True, help_text="A pilot asks about so many posts only.")
    budget = models.DecimalField(max_digits=10, decimal_places=4, null=True, blank=True)
    # Money is granted in small portions, on record before it is spent: what a killed worker cannot account for
    # counts as spent, so that no number of crashes carries a run past its budget.
    granted = models.DecimalField(max_digits=20, decimal_places=8, default=0)
    written_off = models.DecimalField(max_digits=20, decimal_places=8, default=0)

    state = models.CharField(max_length=12, choices=RunState, default=RunState.QUEUED)
    asked = models.CharField(max_length=12, choices=Asked, default="", blank=True)
    error = models.TextField(blank=True)
    claim_number = models.PositiveIntegerField(default=0)
    heartbeat = models.DateTimeField(null=True, blank=True)
    waits_until = models.DateTimeField(
        null=True, blank=True, help_text="Nobody is at work: batches are at the provider, and then they are looked at."
    )
    created = models.DateTimeField(auto_now_add=True)
    started = models.DateTimeField(null=True, blank=True)
    ended = models.DateTimeField(null=True, blank=True)

    objects = VotingRunQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(budget__isnull=True) | models.Q(granted__lte=F("budget") - F("written_off")),
                name="no_run_is_granted_more_than_its_budget",
            )
        ]

    def __str__(self) -> str:
        return f"Voting run {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("voting_run", args=[self.project.slug, self.pk])

    @property
    def is_over(self) -> bool:
        return self.state in {RunState.DONE, RunState.CANCELLED, RunState.FAILED}

    @property
    def is_silent(self) -> bool:
        if self.state != RunState.RUNNING:
            return False
        if self.waits_until:
            return self.waits_until < timezone.now() - OVERDUE
        return is_unheard(self.heartbeat, SILENCE)

    @property
    def spent(self) -> Decimal:
        return self.parts.aggregate(total=Sum("cost"))["total"] or ZERO

    def claim(self) -> bool:
        """One UPDATE that must change one row; the number it takes marks everything this worker writes."""
        with transaction.atomic():
            changed = (
                VotingRun.objects.claimable()
                .filter(pk=self.pk)
                .update(
                    state=RunState.RUNNING, heartbeat=Now(), waits_until=None, ended=None, error="",
                    claim_number=F("claim_number") + 1,
                )
            )  # fmt: skip
            self.refresh_from_db()
            if changed:
                self.started = self.started or self.heartbeat
                self.account()
                self.save(update_fields=["started", "written_off", "granted"])
        return changed == 1

    def account(self) -> None:
        """What a live run's last worker was granted and cannot account for is gone; a batch is there to be asked."""
        spent = self.spent
        if self.mode == Mode.BATCH:
            held = spent + self.reserved
            self.granted = held if self.budget is None else min(held, self.budget - self.written_off)
        else:
            self.written_off += max(ZERO, self.granted - spent)
            self.granted = spent

    @property
    def reserved(self) -> Decimal:
        """The most that what is at the provider may yet cost."""
        return (
            BatchPost.objects.unanswered().filter(batch__part__run=self).aggregate(total=Sum("most"))["total"] or ZERO
        )

    @property
    def at_provider(self) -> int:
        return self.in_batches(BatchState.SUBMITTED)

    @property
    def on_the_way(self) -> int:
        """Nobody can tell yet whether the provider has them."""
        return self.in_batches(BatchState.WRITTEN)

    def in_batches(self, state: "BatchState") -> int:
        return BatchPost.objects.unanswered().filter(batch__part__run=self, batch__state=state).count()

    def ask_for(self, what: Asked) -> bool:
        """A run at work obeys within a second; one that nobody works on is settled here, unless a provider does:
        what lies there is fetched first, or cancelled there. False where nothing could be asked of it."""
        this = VotingRun.objects.filter(pk=self.pk)
        if self.has_open_batches:
            return self.ask_with_batches(what)
        obeys = this.filter(state=RunState.RUNNING).exclude(asked=what).update(asked=what)
        idle = RunState.PAUSED if what == Asked.PAUSE else RunState.CANCELLED
        waiting = [RunState.QUEUED] if what == Asked.PAUSE else [RunState.QUEUED, RunState.PAUSED]
        settled = this.filter(state__in=waiting).update(state=idle, ended=timezone.now())
        settled += this.silent().update(state=idle, ended=timezone.now())
        return bool(obeys + settled)

    def ask_with_batches(self, what: Asked) -> bool:
        """A run that failed may have left some at the provider: cancelling it sends somebody there once more."""
        this = VotingRun.objects.filter(pk=self.pk)
        if what == Asked.CANCEL and this.filter(state=RunState.FAILED).update(
            state=RunState.QUEUED, asked=what, error="", ended=None
        ):
            self.parts.update(stopped="")
            return True
        under_way = this.filter(state__in=[RunState.QUEUED, RunState.RUNNING])
        obeys = under_way.exclude(asked=what).update(asked=what)
        under_way.filter(waits_until__isnull=False).update(waits_until=Now())
        return bool(obeys)

    @property
    def has_open_batches(self) -> bool:
        return Batch.objects.open().filter(part__run=self).exists()


class Part(models.Model):
    """One voter's part in a run."""

    run = models.ForeignKey(VotingRun, on_delete=models.CASCADE, related_name="parts")
    voter = models.ForeignKey(Voter, on_delete=models.PROTECT, related_name="parts")
    total = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    abstained = models.PositiveIntegerField(default=0)
    tokens_in = models.BigIntegerField(default=0)
    tokens_out = models.BigIntegerField(default=0)
    cost = models.DecimalField(max_digits=20, decimal_places=8, default=0)
    unpriced = models.PositiveIntegerField(default=0, help_text="Answers whose price is unknown, which is not nothing.")
    by_label = models.JSONField(default=dict)
    stopped = models.TextField(blank=True, help_text="Why this voter was stopped before its time.")

    class Meta:
        ordering = ["voter__name"]
        constraints = [models.UniqueConstraint(fields=["run", "voter"], name="one_part_per_run_and_voter")]

    def __str__(self) -> str:
        return f"{self.voter} in {self.run_id}"

    def add(self, **counts: Any) -> None:
        labels = counts.pop("by_label")
        for name, value in counts.items():
            setattr(self, name, getattr(self, name) + value)
        self.by_label = {name: self.by_label.get(name, 0) + labels.get(name, 0) for name in {*self.by_label, *labels}}


class Failure(models.Model):
    """A post that a voter could not be asked about, whatever was tried. Retrying takes it away."""

    part = models.ForeignKey(Part, on_delete=models.CASCADE, related_name="failures")
    post = models.ForeignKey(Post, on_delete=models.CASCADE, related_name="failures")
    cause = models.CharField(max_length=200)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["part", "post"], name="one_failure_per_part_and_post")]

    def __str__(self) -> str:
        return self.cause


class Wording(models.Model):
    """From then on a part's voter was asked in these words: what it read beside the post. A vote finds its own by its
    batch, or by its voter and its moment."""

    part = models.ForeignKey(Part, on_delete=models.CASCADE, related_name="wordings")
    hash = models.CharField(max_length=64)
    text = models.TextField()
    since = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.hash[:8]


class Replacement(models.Model):
    """Who took a voter's seat."""

    voter = models.OneToOneField(Voter, on_delete=models.CASCADE, related_name="replacement")
    heir = models.ForeignKey(Voter, on_delete=models.CASCADE, related_name="+")

    def __str__(self) -> str:
        return f"{self.voter} by {self.heir}"


class BatchState(models.TextChoices):
    WRITTEN = "written", "Being submitted"
    SUBMITTED = "submitted", "At the provider"
    DONE = "done", "Done"
    EXPIRED = "expired", "Expired"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


OPEN = [BatchState.WRITTEN, BatchState.SUBMITTED]


class BatchQuerySet(models.QuerySet["Batch"]):
    def open(self) -> Self:
        return self.filter(state__in=OPEN)


class Batch(models.Model):
    """A file of requests at a provider. The row is there before the file is, so that none is ever sent twice."""

    part = models.ForeignKey(Part, on_delete=models.CASCADE, related_name="batches")
    wording = models.ForeignKey(Wording, on_delete=models.SET_NULL, null=True, related_name="+")
    number = models.PositiveIntegerField()
    mark = models.UUIDField(default=uuid.uuid4, unique=True, editable=False, help_text="What it bears at the provider.")
    state = models.CharField(max_length=12, choices=BatchState, default=BatchState.WRITTEN)
    requests = models.PositiveIntegerField(default=0)
    file_id = models.CharField(max_length=200, blank=True)
    batch_id = models.CharField(max_length=200, blank=True)
    queue_full = models.BooleanField(default=False, help_text="The provider took none of it for want of room.")
    error = models.CharField(max_length=200, blank=True)
    created = models.DateTimeField(auto_now_add=True)
    submitted = models.DateTimeField(null=True, blank=True)
    ended = models.DateTimeField(null=True, blank=True)

    objects = BatchQuerySet.as_manager()

    class Meta:
        ordering = ["part", "number"]
        constraints = [models.UniqueConstraint(fields=["part", "number"], name="one_batch_per_part_and_number")]

    def __str__(self) -> str:
        return f"Batch {self.number} of {self.part}"

    @property
    def name(self) -> str:
        return f"casting-vote-{self.mark}"


class BatchPostQuerySet(models.QuerySet["BatchPost"]):
    def unanswered(self) -> Self:
        votes = Vote.objects.filter(voter=models.OuterRef("batch__part__voter"), post=models.OuterRef("post"))
        return self.filter(batch__state__in=OPEN).exclude(models.Exists(votes))


class BatchPost(models.Model):
    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="posts")
    post = models.ForeignKey(Post, on_delete=models.CASCADE, related_name="+")
    most = models.DecimalField(max_digits=20, decimal_places=8, default=0)
    in_vain = models.BooleanField(default=False, help_text="It came back without an answer, and may be tried again.")

    objects = BatchPostQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["batch", "post"], name="one_request_per_batch_and_post")]

    def __str__(self) -> str:
        return f"post {self.post_id} in {self.batch}"
