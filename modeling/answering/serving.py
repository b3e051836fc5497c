"""The worker of the gpu queue while it answers: it keeps the models that were asked last, and goes when nobody asks."""

import logging
import time

from modeling.models import Answerer, Reply, Run
from modeling.training import results

from . import claims, folders
from .speaker import Speaker

KEEPS = 2  # models loaded at once
AT_ONCE = 16  # posts of a run
LOOK_EVERY, WANTED_EVERY, BEAT_EVERY = 0.05, 1.0, 5.0  # seconds
IDLE, IDLE_WHEN_WANTED = 120.0, 5.0  # seconds without a question before the worker goes
LONGEST_WHEN_WANTED = 600.0  # seconds of questions without a pause, where something else waits for the worker
PATIENCE = 300.0  # seconds for a handful of posts; after that a model is taken to hang
LOADING = 3600.0  # seconds, because a base model may have to be downloaded first
log = logging.getLogger(__name__)


def serve() -> None:
    """Until nobody asks. Whoever asks while we go is answered by the next worker."""
    if not claims.runs_waiting():
        return
    folders.forget_left()
    with claims.on_duty() as me:
        Serving(me).until_nobody_asks()
    claims.summon()


class Serving:
    def __init__(self, me: Answerer) -> None:
        self.me = me
        self.speakers: dict[int, Speaker] = {}
        self.keeps = KEEPS
        self.is_leaving = False
        self.began = time.monotonic()
        self.last_asked = self.last_beat = self.last_wanted = self.began

    @property
    def is_at_work(self) -> bool:
        return any(speaker.held for speaker in self.speakers.values())

    def until_nobody_asks(self) -> None:
        try:
            while self.is_at_work or not self.is_leaving:
                self.look()
                self.is_leaving |= self.may_leave()
                time.sleep(LOOK_EVERY)
        finally:
            for speaker in self.speakers.values():
                claims.let_go(speaker.stop())

    def may_leave(self) -> bool:
        """Where something else waits for this worker, a pause is enough, and nobody asks for ever."""
        now = time.monotonic()
        idle, served = now - self.last_asked, now - self.began
        if idle >= IDLE:
            return True
        return (idle >= IDLE_WHEN_WANTED or served >= LONGEST_WHEN_WANTED) and self.is_wanted(now)

    def is_wanted(self, now: float) -> bool:
        if now - self.last_wanted < WANTED_EVERY:
            return False
        self.last_wanted = now
        return claims.others_wait(now - self.began)

    def look(self) -> None:
        """Once around: what was answered, who has died, who is asked."""
        for speaker in list(self.speakers.values()):
            self.hear(speaker)
        for run in [] if self.is_leaving else claims.runs_waiting():
            self.put(run)
        self.beat()

    def beat(self) -> None:
        loaded = sorted(run for run, speaker in self.speakers.items() if speaker.is_ready)
        if loaded != self.me.loaded or time.monotonic() - self.last_beat > BEAT_EVERY:
            self.me.loaded, self.last_beat = loaded, time.monotonic()
            claims.beat(self.me)

    # --- Who is asked

    def put(self, run: int) -> None:
        speaker = self.speakers.get(run) or self.begin(run)
        if speaker is None or speaker.held:
            return
        self.last_asked = time.monotonic()
        if taken := claims.claim(self.me, run, AT_ONCE):
            speaker.ask(taken)

    def begin(self, run: int) -> Speaker | None:
        """None where all places are taken by models that are at work."""
        if len(self.speakers) >= self.keeps and not self.send_away_one():
            return None
        asked = Run.objects.select_related("dataset", "project").filter(pk=run).first()
        if asked is None:
            return None
        try:
            self.speakers[run] = Speaker(asked, self.me)
        except results.NoResult as reason:
            claims.fail_all(run, str(reason))
        except OSError as failure:
            claims.fail_all(
                run, f"The disk did not play along: {failure.strerror or failure}. Make room, and ask again."
            )
        return self.speakers.get(run)

    def send_away_one(self) -> bool:
        """Whoever was asked longest ago."""
        idle = [one for one in self.speakers.values() if not one.held]
        if idle:
            self.send_away(min(idle, key=lambda one: one.last_used))
        return bool(idle)

    def send_away(self, speaker: Speaker) -> list[Reply]:
        del self.speakers[speaker.run.pk]
        return speaker.stop()

    # --- What they say

    def hear(self, speaker: Speaker) -> None:
        was_over = speaker.is_over  # looked at first: what it said before it died is heard all the same
        for reply, told in speaker.heard():
            if "scores" in told:
                claims.answered(reply, told["scores"])
            else:
                claims.failed(reply, told["error"])
        if speaker.held:
            self.last_asked = time.monotonic()
        if was_over or speaker.error:
            self.bury(speaker)
        elif speaker.held and time.monotonic() - speaker.last_used > (PATIENCE if speaker.is_ready else LOADING):
            log.error("Run %s has not answered for %.0f s, and is started anew.", speaker.run.pk, PATIENCE)
            claims.let_go(self.send_away(speaker))

    def bury(self, speaker: Speaker) -> None:
        """One that found no room beside others is tried once more alone. One that died without a word is tried again
        with what it was asked, until that has been taken too often."""
        left = self.send_away(speaker)
        if speaker.error and not self.speakers:
            for reply in left:
                claims.failed(reply, speaker.error)
            claims.fail_all(speaker.run.pk, speaker.error)
            return
        if speaker.error:
            self.keeps = 1
            for other in list(self.speakers.values()):
                claims.let_go(self.send_away(other))
        claims.let_go(left)
