"""The fleet manager's slow loop: look at all cards, settle who is where, plan, ask for what is to change.

What is asked of a card is written down first, under an epoch nobody was given before. So it can be killed
anywhere: what was asked and not answered is asked again, and a card does the same request once.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from tidegate.agents.fleet.asking import said_no
from tidegate.agents.fleet.columns import columns, has_room
from tidegate.agents.fleet.departed import freed
from tidegate.agents.fleet.limiting import Limiting
from tidegate.agents.fleet.looking import sights
from tidegate.agents.fleet.patience import Patience
from tidegate.agents.fleet.records import Event, FleetTick, Moving, Placed, begun_move
from tidegate.agents.fleet.settling import arrived, settled, twice
from tidegate.model.application import ApplicationState
from tidegate.model.autonomy import Autonomy, Level
from tidegate.model.card_fleet import NOWHERE, Move
from tidegate.model.errors import InputError
from tidegate.model.plan import Reason
from tidegate.model.refusals import Because, Refusal, refusal
from tidegate.plan.cards import CardPlanner
from tidegate.plan.cards.wishes import planned
from tidegate.plan.consent import Consent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tidegate.agents.fleet.asking import AskedCard
    from tidegate.agents.fleet.records import CardSeen
    from tidegate.agents.fleet.store import Store
    from tidegate.model.application import ApplicationSpec
    from tidegate.model.card_fleet import CardFleet, CardPlan

MOVES_AT_ONCE: Final = 2
"""Of one card, in or out: moves share its cores and its link with what it serves."""
DYING_SECONDS: Final = 30.0
"""A card that is not well for so long is left; until then it takes nothing new: much passes by itself."""
HELD_BACK_SECONDS: Final = 60.0
"""An application that could not be moved is left alone for so long."""


@dataclass(slots=True, kw_only=True)
class Cell:
    """The cards of a cell and who is on them; the only writer of placement."""

    cards: Mapping[str, AskedCard]
    """By name: every card of the cell, heard or not."""
    store: Store
    now_seconds: Callable[[], float]
    planner: CardPlanner = field(default_factory=CardPlanner)
    fenced: frozenset[str] = frozenset()
    """Cards that left and surely run nothing, as a person says."""
    consent: Consent = field(default_factory=lambda: Consent(lambda: Autonomy(default=Level.AUTO)))
    """Whom people let it move; who is on no card is placed whatever they say, since they asked for that."""
    last: FleetTick | None = None
    """The latest turn; None before the first."""
    _wished: frozenset[tuple[str, str]] = frozenset()
    """Moves that were told of as held back: an application, and where it would go."""
    _seen: dict[str, CardSeen] = field(default_factory=dict)
    """The last sight of each card."""
    _heard: frozenset[str] = frozenset()
    """The cards that answered the last look."""
    _unwell: dict[str, float] = field(default_factory=dict)
    """Since when a card has said so."""
    _held_back: dict[str, float] = field(default_factory=dict)
    _patience: Patience = field(default_factory=Patience)
    _limiting: Limiting = field(init=False)
    _alone: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Whoever changes placement in several steps does so alone."""
    _events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Send budgets to the same cards.

        Raises:
            InputError: a card is fenced that is asked, too.

        """
        self._limiting = Limiting(cards=self.cards)
        for name in sorted(self.fenced & self.cards.keys()):
            raise InputError(f"card '{name}' is fenced and asked at once; leave out --card or --fenced")

    async def tick(self) -> FleetTick:
        """Turn once.

        Raises:
            TidegateError: the store can't be written; then nothing was asked of any card.

        """
        async with self._alone:
            return await self._turn()

    async def _turn(self) -> FleetTick:
        self._events = []
        looked = self.now_seconds()
        silent = await self._look()
        heard = [self._seen[name] for name in self.cards if name in self._seen and name not in silent]
        self._heard = frozenset(card.name for card in heard)
        await self._settle(heard, looked_seconds=looked)
        placed, moving = self.store.placed(), self.store.moving()
        known = tuple(self._seen[name] for name in self.cards if name in self._seen)
        plan, fleet, wished, why = None, None, tuple[Move, ...](), dict[str, str]()
        if known:
            fleet = self._columns(placed, moving)
            held, reasons = self.consent.asked(fleet.applications)
            wishes = planned(self.planner, fleet, held)
            unplaced = self._patience.told(wishes.plan.unplaced)
            plan, wished = replace(wishes.plan, unplaced=unplaced), wishes.wished
            rows = zip(fleet.applications, held.tolist(), reasons.tolist(), strict=True)
            why = {name: Reason(code).sentence for name, is_held, code in rows if is_held}
            self._tell_wished(wished, why)
            await self._admit(plan, fleet, placed)
            await self._start(plan, placed, moving)
            sending = self._limiting.due(
                plan,
                fleet,
                placed=placed,
                moving=self.store.moving().keys(),
                held=why.keys(),
                heard=[self._seen[card] for card in self._heard],
                now_seconds=looked,
            )
            for name, sentence in await self._limiting.send(sending, looked):
                self._tell(name, sentence)
        self.store.write(events=self._events)
        self.last = FleetTick(
            time_seconds=self.now_seconds(),
            cards=known,
            silent=silent,
            placed=self.store.placed(),
            moving=self.store.moving(),
            plan=plan,
            wished=wished,
            events=tuple(self._events),
            fleet=fleet,
            held=why,
        )
        return self.last

    def _columns(self, placed: Mapping[str, Placed], moving: Mapping[str, Moving], *new: Placed) -> CardFleet:
        """Return the fleet as it was seen last, and who would be new."""
        now = self.now_seconds()
        self._held_back = {name: until for name, until in self._held_back.items() if until > now}
        known = tuple(self._seen[card] for card in self.cards if card in self._seen)
        still = [
            one.name
            for card in known
            for one in card.applications
            if one.state is not ApplicationState.RUNNING
        ]
        return columns(
            known,
            (*self._plannable(placed), *new),
            heard=self._heard,
            held_back=self._held_back | dict.fromkeys([*moving, *still], math.inf),
            now_seconds=now,
            dying=[card for card, since in self._unwell.items() if now - since >= DYING_SECONDS],
            refused=self._patience.waiting(now),
            arriving={name: one.card_to for name, one in moving.items()},
        )

    def check(self, name: str, spec: ApplicationSpec) -> Placed:
        """Return an application as it would be taken into the fleet; the next tick would start it.

        Raises:
            Refusal: there is one of that name, or no card has room, with what lacks.

        """
        placed = self.store.placed()
        if name in placed:
            where = placed[name].card or "no card"
            raise refusal(Because.EXISTS, f"there is an application '{name}' already, on {where}")
        now = self.now_seconds()
        new = Placed(name=name, card="", epoch=0, epoch_asked=0, spec=spec, since_seconds=now, wanted=True)
        plan = self.planner.plan(self._columns(placed, self.store.moving(), new))
        if plan.card[-1] == NOWHERE:
            why = {one.application: one.reason for one in plan.unplaced}[name]
            raise refusal(Because.NO_ROOM, f"'{name}' was not taken in: {why}")
        return new

    def admit(self, name: str, spec: ApplicationSpec, request_id: str = "") -> Placed:
        """Take an application into the fleet; the next tick starts it on the card where it fits best.

        Asked again with the same ``request_id``, as after an answer that was lost, it is the same one.

        Raises:
            Refusal: there is one of that name, or no card has room, with what lacks.

        """
        before = self.store.placed().get(name)
        if before is not None and request_id and before.request_id == request_id:
            return before
        new = replace(self.check(name, spec), request_id=request_id)
        self.store.write(placed=[new])
        return new

    def has_removed(self, name: str, request_id: str) -> bool:
        """Return whether a request was answered before: its application is gone."""
        return bool(request_id) and self.store.removed(request_id) == name

    async def remove(self, name: str, request_id: str = "") -> None:
        """Have an application stopped and forgotten, by its card and by the fleet.

        Asked again with the same ``request_id``, as after an answer that was lost, it is done already.

        Raises:
            Refusal: there is none, it is being moved, or its card does not answer.

        """
        async with self._alone:
            if self.has_removed(name, request_id):
                return
            placed = self.store.placed().get(name)
            if placed is None:
                raise refusal(Because.NOT_FOUND, f"the fleet has no application '{name}'")
            if name in self.store.moving():
                raise refusal(Because.NOT_NOW, f"'{name}' is being moved; ask again once it has arrived")
            card = placed.card or placed.asked
            if card and card not in self.cards:
                raise refusal(
                    Because.NOT_NOW,
                    f"'{name}' is on card '{card}', which the fleet has no more; add it again",
                )
            if card:
                await self.cards[card].delete(name)
            self.store.write(forgotten=[name], removals={request_id: name} if request_id else {})
            self._patience.forget(name)

    def _plannable(self, placed: Mapping[str, Placed]) -> tuple[Placed, ...]:
        """Return who is planned with: on a card that was seen, or on none.

        After a start with cards that are not heard theirs are not known, and by no means on none.
        """
        return tuple(one for one in placed.values() if not one.card or one.card in self._seen)

    async def _look(self) -> dict[str, str]:
        """Ask every card how it is, all at once; return who did not answer, and why."""
        seen, silent = await sights(self.cards)
        now = self.now_seconds()
        for name, card in seen.items():
            self._seen[name] = card
            if not card.degraded:
                self._unwell.pop(name, None)
            elif self._unwell.setdefault(name, now) == now:
                self._tell(name, f"is not well and takes nothing new: {card.degraded}")
        return silent

    async def _settle(self, heard: Sequence[CardSeen], *, looked_seconds: float) -> None:
        """Hear how moves ended, then compare what was found with what was written down."""
        gone = freed(self.store.placed(), self.store.moving(), self.fenced, looked_seconds)
        self._events += gone.events
        self.store.write(placed=gone.placed, forgotten=gone.forgotten, ended=gone.ended)
        await asyncio.gather(*(self._hear(one) for one in self.store.moving().values()))
        now = self.now_seconds()
        found = settled(
            heard,
            self.store.placed(),
            self.store.moving(),
            whole=len(heard) == len(self.cards),
            looked_seconds=looked_seconds,
            now_seconds=now,
        )
        both = [
            Event(time_seconds=now, about=name, sentence="serves on two cards at once: stop one by hand")
            for name in sorted(twice(heard))
        ]
        self._events += [*found.events, *both]
        there = arrived(heard, self.store.moving())
        self.store.write(placed=found.placed, forgotten=found.gone, ended=there)

    async def _hear(self, moving: Moving) -> None:
        """Ask for a move that was asked for and not answered; note how one ended."""
        source, target = self.cards.get(moving.card_from), self._seen.get(moving.card_to)
        if source is None:
            return
        try:
            if not moving.migration:
                if target is None:
                    return
                name = await source.move(moving, target_address=target.address)
                self.store.write(moving=[replace(moving, migration=name)])
                return
            ended = await source.ended(moving.migration)
        except Refusal as refused:
            if said_no(refused):
                self._failed(moving, str(refused))
            return  # else it is asked again at the next tick
        if ended is None:
            return
        if not ended.succeeded:
            self._failed(moving, ended.reason)
            return
        now = self.now_seconds()
        placed = self.store.placed()[moving.application]
        told = f"moved from {moving.card_from} to {moving.card_to} in {ended.pause_seconds * 1e3:.0f} ms"
        self._events.append(Event(time_seconds=now, about=moving.application, sentence=told))
        self._patience.forget(moving.application)
        there = replace(placed, card=moving.card_to, epoch=moving.epoch, since_seconds=now)
        self.store.write(placed=[there], ended=[moving.application])

    def _failed(self, moving: Moving, why: str) -> None:
        now = self.now_seconds()
        self._held_back[moving.application] = now + HELD_BACK_SECONDS
        self._patience.refused(moving.application, moving.card_to, now, why)
        told = f"could not be moved from {moving.card_from} to {moving.card_to}: {why}"
        self._events.append(Event(time_seconds=now, about=moving.application, sentence=told))
        self.store.write(ended=[moving.application])

    async def _admit(self, plan: CardPlan, fleet: CardFleet, placed: Mapping[str, Placed]) -> None:
        """Have cards take in what was given to the fleet and is on none.

        Which card is asked is written down before: who did not answer may have it, and is asked again until
        it answers.
        """
        asked: list[Placed] = []
        for row, name in enumerate(fleet.applications):
            one, planned = placed[name], int(plan.card[row])
            if one.card or not one.wanted or not (one.asked or planned != NOWHERE):
                continue
            card = one.asked or fleet.cards[planned]
            if card in self._heard:
                asked.append(replace(one, asked=card))
        self.store.write(placed=[one for one in asked if one != placed[one.name]])
        await asyncio.gather(*(self._create(one) for one in asked))

    async def _create(self, one: Placed) -> None:
        """Have one card take in one application."""
        now, card = self.now_seconds(), one.asked
        try:
            await self.cards[card].create(one.name, one.spec, epoch=one.epoch)
        except Refusal as refused:
            self._tell(one.name, f"{card} did not take it in: {refused}")
            if refused.because is Because.EXISTS or not await self._is_without(one, refused):
                return  # it may be there: no other card is asked
            epoch = one.epoch_asked + 1
            if refused.field == "epoch" and refused.limit is not None:
                epoch = max(epoch, int(refused.limit))  # one of that name was there before
            else:
                self._patience.refused(one.name, card, now, str(refused))
            self.store.write(placed=[replace(one, asked="", epoch=epoch, epoch_asked=epoch)])
        else:
            self._tell(one.name, f"taken in by {card}")
            self._patience.forget(one.name)
            self.store.write(placed=[replace(one, card=card, asked="", since_seconds=now)])

    async def _is_without(self, one: Placed, refused: Refusal) -> bool:
        """Return whether a card has nothing of an application for sure; what failed is taken back first."""
        if refused.because is not Because.BROKEN:
            return said_no(refused)
        try:
            await self.cards[one.asked].delete(one.name)
        except Refusal:
            return False
        return True

    async def _start(
        self, plan: CardPlan, placed: Mapping[str, Placed], moving: Mapping[str, Moving]
    ) -> None:
        """Begin the moves that are due, a few at a time for each card."""
        busy = [card for one in moving.values() for card in (one.card_from, one.card_to)]
        begun: list[Moving] = []
        for move in plan.moves:
            one = placed[move.application]
            if move.application in moving or one.card != move.card_from:
                continue
            if max(busy.count(move.card_from), busy.count(move.card_to)) >= MOVES_AT_ONCE:
                continue
            if not has_room(self._seen[move.card_to], self._seen[move.card_from], move.application):
                continue  # the budgets of this plan make it; asked now, it would be refused and held back
            busy += [move.card_from, move.card_to]
            self._tell(move.application, f"moves from {move.card_from} to {move.card_to}: {move.reason}")
            begun.append(begun_move(move, epoch=one.epoch_asked + 1, now_seconds=self.now_seconds()))
        asked = [replace(placed[one.application], epoch_asked=one.epoch) for one in begun]
        self.store.write(placed=asked, moving=begun)
        await asyncio.gather(*(self._hear(one) for one in begun))

    def _tell_wished(self, wished: Sequence[Move], held: Mapping[str, str]) -> None:
        """Tell once of each move that is wished and not done."""
        now = frozenset((move.application, move.card_to) for move in wished)
        for move in wished:
            if (move.application, move.card_to) not in self._wished:
                why = f"{held[move.application]}; {move.reason}"
                told = f"would move from {move.card_from} to {move.card_to}, not done: {why}"
                self._tell(move.application, told)
        self._wished = now

    def _tell(self, about: str, sentence: str) -> None:
        self._events.append(Event(time_seconds=self.now_seconds(), about=about, sentence=sentence))
