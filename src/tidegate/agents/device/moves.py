"""What can be asked of migrations away from a card: begin one, stop one, look at them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tidegate.agents.device.records import Migration, MigrationPhase, Strategy
from tidegate.model.application import ApplicationState, checked_name
from tidegate.model.errors import InputError
from tidegate.model.refusals import Because, Refusal

if TYPE_CHECKING:
    from tidegate.agents.device.card import Card
    from tidegate.agents.device.records import Application, Request

ONGOING_MAX: Final = 100
"""Migrations away from one card at once."""
ABORTED: Final = "it was aborted on request"


@dataclass(frozen=True, slots=True)
class Moves:
    """The migrations of a card; whoever drives them is `tidegate.agents.device.moving`."""

    card: Card

    def begin(
        self,
        application: str,
        *,
        target: str,
        address: str,
        epoch: int = 0,
        strategy: Strategy | None = None,
        reason: str = "",
        validate_only: bool = False,
        request: Request | None = None,
    ) -> Migration:
        """Write down that an application is to move; ``epoch`` 0 is the next one nobody has used.

        Raises:
            Refusal: it can't move so, or moves already.

        """
        card = self.card
        with card.alone(application):
            before = card.answered(request, Migration)
            if before is not None:
                return before
            with card.lock:
                one = card.application(application)
                self._require_movable(one, target, address)
                new = Migration(
                    id=card.new_id(),
                    application=application,
                    target=target,
                    target_address=address,
                    strategy=_strategy(one, strategy),
                    epoch=self._epoch(one, epoch),
                    reason=reason,
                    began_nanoseconds=card.now(),
                )
                if validate_only:
                    return new
                settings, moving = card.renewed(replace(one, migration=new.id), holds=False)
                # Tried once, an epoch is spent: a late message of a move that failed can't meet a new one.
                seen = replace(card.epochs_of(application), epoch=new.epoch, at_nanoseconds=card.now())
                card.write(settings, moving, seen, new, *card.answer(request, new))
                self._forget_old()
                return new

    def abort(self, identifier: str) -> Migration:
        """Stop a migration: the application goes on where it is, unless it serves elsewhere already.

        Raises:
            Refusal: it is not known, or has succeeded.

        """
        card = self.card
        with card.lock:
            one = card.migration(identifier)
            if one.phase is MigrationPhase.SUCCEEDED:
                raise Refusal(
                    Because.NOT_NOW,
                    f"migration {identifier} has succeeded: application {one.application} serves on card "
                    f"{one.target}; move it back from there",
                )
            if not one.ended and not one.stop:
                one = replace(one, stop=ABORTED, by_request=True)
                card.write(one)
            return one

    def _require_movable(self, one: Application, target: str, address: str) -> None:
        card = self.card
        try:
            checked_name("a card", target)
        except InputError as error:
            raise Refusal(Because.INVALID, f"target: {error}", field="target") from error
        if target == card.name:
            raise Refusal(
                Because.NOT_NOW,
                f"target: application {one.name} is on card {target} already; name another card",
                field="target",
            )
        if not address:
            raise Refusal(
                Because.INVALID,
                f"target_address: say where the device of card {target} listens, such as 10.0.0.2:7700",
                field="target_address",
            )
        card.require_settled(one)
        if one.state is not ApplicationState.RUNNING:
            raise Refusal(
                Because.NOT_NOW,
                f"application {one.name} is {one.state.name.lower()}; only what runs is moved; start it",
            )
        going = [each for each in card.migrations.values() if not each.ended or each.leftover]
        if len(going) >= ONGOING_MAX:
            raise Refusal(
                Because.NO_ROOM, f"{len(going)} migrations leave card {card.name}, which is the most at once"
            )
        for each in card.migrations.values():
            if each.leftover and each.application == one.name and each.target == target:
                raise Refusal(
                    Because.NOT_NOW,
                    f"card {target} may still have a standby of application {one.name} from migration "
                    f"{each.id}; wait until that card has been heard again, or choose another",
                )

    def _epoch(self, one: Application, wanted: int) -> int:
        least = max(one.epoch, self.card.epochs_of(one.name).epoch) + 1
        if wanted and wanted < least:
            raise Refusal(
                Because.NOT_NOW,
                f"epoch: {wanted} was used for application {one.name}; give {least} or a higher one",
                field="epoch",
                limit=least,
            )
        return wanted or least

    def _forget_old(self) -> None:
        """Forget in memory what the store has forgotten."""
        kept = self.card.store.migrations()
        for identifier in [each for each in self.card.migrations if each not in kept]:
            del self.card.migrations[identifier]


def _strategy(one: Application, wanted: Strategy | None) -> Strategy:
    if wanted is Strategy.LIVE:
        raise Refusal(
            Because.UNSUPPORTED,
            "strategy: an application can't be moved live, only a virtual machine; choose handoff or restart",
            field="strategy",
        )
    if wanted is Strategy.HANDOFF and not one.spec.hands_off:
        raise Refusal(
            Because.NOT_NOW,
            f"strategy: application {one.name} does not speak the hand-off contract; choose restart",
            field="strategy",
        )
    return wanted or (Strategy.HANDOFF if one.spec.hands_off else Strategy.RESTART)


__all__ = ["Moves"]
