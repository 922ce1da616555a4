"""Serves `CardService`: how the card is, and whether it takes work."""

# ruff: noqa: N802 - the protocol names calls so

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.agents.device.lifecycle import set_draining
from tidegate.agents.device.services.asking import authorized, request_of
from tidegate.agents.device.services.messages import card_message
from tidegate.model.refusals import InvalidField
from tidegate.wire.card.v1 import card_pb2, card_pb2_grpc
from tidegate.wire.names import card_of
from tidegate.wire.paging import page

if TYPE_CHECKING:
    from tidegate.agents.device.services.asking import Context
    from tidegate.agents.device.services.device import Device

SERVICES = {card_pb2.SERVICE_UNSPECIFIED: False, card_pb2.SERVICE_IN: False, card_pb2.SERVICE_DRAINING: True}


class Cards(card_pb2_grpc.CardServiceServicer):
    """The one card of a device."""

    def __init__(self, device: Device) -> None:
        """Serve a device's card."""
        self._device = device

    async def GetCard(self, request: card_pb2.GetCardRequest, context: Context) -> card_pb2.GetCardResponse:
        """Return the card."""
        authorized(context)
        self._device.require_here(card_of(request.name))
        return card_pb2.GetCardResponse(card=card_message(self._device))

    async def ListCards(
        self, request: card_pb2.ListCardsRequest, context: Context
    ) -> card_pb2.ListCardsResponse:
        """Return the card, which is all there are."""
        authorized(context)
        cards, token = page([card_message(self._device)], lambda card: card.name, request, rising=True)
        return card_pb2.ListCardsResponse(cards=cards, next_page_token=token)

    async def UpdateCard(
        self, request: card_pb2.UpdateCardRequest, context: Context
    ) -> card_pb2.UpdateCardResponse:
        """Take the card out of service, or into it."""
        authorized(context)
        device, wanted = self._device, request.card
        device.require_here(card_of(wanted.name, "card.name"), "card.name")
        if list(request.update_mask.paths) != ["spec.service"]:
            raise InvalidField("update_mask", "name spec.service, which is all that can be changed of a card")
        draining = SERVICES.get(wanted.spec.service)
        if draining is None:
            raise InvalidField("card.spec.service", f"nobody knows a service {wanted.spec.service}")
        settings = await device.do(
            lambda: set_draining(
                device.card,
                draining=draining,
                etag=wanted.etag,
                validate_only=request.validate_only,
                request=request_of(request),
            )
        )
        answer = card_message(device)
        answer.spec.service = card_pb2.SERVICE_DRAINING if settings.draining else card_pb2.SERVICE_IN
        answer.etag = str(settings.draining_revision)
        return card_pb2.UpdateCardResponse(card=answer)


__all__ = ["Cards"]
