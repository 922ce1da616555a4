"""Stands before every call to a server: reads the request, and turns whatever is raised into a status."""

from __future__ import annotations

import inspect
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from google.protobuf.message import DecodeError, Message

from tidegate.model.refusals import InvalidField
from tidegate.wire.errors import DETAILS_KEY, is_expected, status_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Context = grpc.aio.ServicerContext[Any, Any]
    Details = grpc.HandlerCallDetails
    Handler = grpc.RpcMethodHandler[Any, Any]


class Guard(grpc.aio.ServerInterceptor):
    """Lets those in whom a check accepts, and answers refusals as the protocol has them."""

    def __init__(self, check: Callable[[Context], None]) -> None:
        """Guard with a check, which raises a refusal where the caller may not even ask."""
        self._check = check
        self._log = structlog.get_logger(__name__)

    async def intercept_service(
        self, continuation: Callable[[Details], Awaitable[Handler | None]], handler_call_details: Details
    ) -> Handler:
        """Return the handler of a call, guarded."""
        found: Any = await continuation(handler_call_details)
        return found and self._guarded_handler(handler_call_details.method, found)  # None: UNIMPLEMENTED

    def _guarded_handler(self, method: str, found: Any) -> Handler:  # noqa: ANN401 - its stubs know of no asyncio
        kinds = {
            (False, False): (grpc.unary_unary_rpc_method_handler, found.unary_unary),
            (False, True): (grpc.unary_stream_rpc_method_handler, found.unary_stream),
            (True, False): (grpc.stream_unary_rpc_method_handler, found.stream_unary),
            (True, True): (grpc.stream_stream_rpc_method_handler, found.stream_stream),
        }
        make, behaviour = kinds[found.request_streaming, found.response_streaming]
        read = _reader(found.request_deserializer)
        # Messages of a stream are read inside the behaviour, as it asks for them. A single one would be read
        # before it, by gRPC, which would answer that it failed itself: so it is read in the guard.
        streams = found.request_streaming
        return make(
            self._guarded(method, behaviour, _same if streams else read),
            request_deserializer=read if streams else None,
            response_serializer=found.response_serializer,
        )

    def _guarded(
        self, method: str, behaviour: Callable[..., Any], read: Callable[[Any], Any]
    ) -> Callable[..., Any]:
        if inspect.isasyncgenfunction(behaviour):

            async def streaming(request: object, context: Context) -> AsyncIterator[Any]:
                async with (
                    self._answering(method, context),
                    aclosing(behaviour(read(request), context)) as responses,
                ):
                    async for response in responses:
                        yield response

            return streaming

        async def once(request: object, context: Context) -> object:
            async with self._answering(method, context):
                return await behaviour(read(request), context)

        return once

    @asynccontextmanager
    async def _answering(self, method: str, context: Context) -> AsyncIterator[None]:
        try:
            self._check(context)
            yield
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the server goes on
            if not is_expected(error):
                self._log.error("a call failed unexpectedly", method=method, exc_info=error)
            status = status_of(error)
            codes = {code.value[0]: code for code in grpc.StatusCode}
            await context.abort(
                codes[status.code], status.message, ((DETAILS_KEY, status.SerializeToString()),)
            )


def _same(request: Any) -> Any:  # noqa: ANN401 - a message, or an iterator of them
    return request


def _reader(deserializer: Callable[[bytes], Message]) -> Callable[[bytes], Message]:
    def read(data: bytes) -> Message:
        try:
            return deserializer(data)
        except DecodeError as error:
            raise InvalidField(
                "message",
                f"{len(data)} bytes can't be read as what this call takes; is the protocol another?",
            ) from error

    return read
