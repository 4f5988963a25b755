"""A terminal that is none: a real gRPC server with reflection, which speaks as much of the terminal's protocol as it is told to."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection

PACKAGE = "SpaceX.API.Device"
SERVICE = f"{PACKAGE}.Device"
_KINDS = {"string": 9, "float": 2, "uint64": 4, "int64": 3, "bool": 8, "uint32": 13}  # FieldDescriptorProto.Type
CAUSES = ("UNKNOWN", "BOOTING", "STOWED", "NO_SCHEDULE", "OBSTRUCTED", "NO_DOWNLINK")

TODAY: dict[str, dict[str, str]] = {
    "DeviceInfo": {"id": "string", "hardware_version": "string", "software_version": "string"},
    "DeviceState": {"uptime_s": "uint64"},
    "DishObstructionStats": {"currently_obstructed": "bool", "fraction_obstructed": "float", "valid_s": "float"},
    "DishAlerts": {"motors_stuck": "bool", "thermal_throttle": "bool", "slow_ethernet_speeds": "bool"},
    "DishOutage": {"cause": "Cause", "start_timestamp_ns": "int64", "duration_ns": "uint64", "did_switch": "bool"},
    "DishGetStatusResponse": {
        "device_info": "DeviceInfo",
        "device_state": "DeviceState",
        "obstruction_stats": "DishObstructionStats",
        "alerts": "DishAlerts",
        "outage": "DishOutage",
        "pop_ping_drop_rate": "float",
        "pop_ping_latency_ms": "float",
        "downlink_throughput_bps": "float",
        "uplink_throughput_bps": "float",
        "boresight_azimuth_deg": "float",
        "boresight_elevation_deg": "float",
    },
    "DishGetHistoryResponse": {"current": "uint64", "outages": "*DishOutage"},
    "DishGetObstructionMapResponse": {"num_rows": "uint32", "num_cols": "uint32", "snr": "*float"},
    "GetStatusRequest": {},
    "GetHistoryRequest": {},
    "DishGetObstructionMapRequest": {},
    "Request": {
        "get_status": "GetStatusRequest",
        "get_history": "GetHistoryRequest",
        "dish_get_obstruction_map": "DishGetObstructionMapRequest",
    },
    "Response": {
        "dish_get_status": "DishGetStatusResponse",
        "dish_get_history": "DishGetHistoryResponse",
        "dish_get_obstruction_map": "DishGetObstructionMapResponse",
    },
}
"""Messages and their fields, as much as is read of them; ``*`` is repeated."""


def poorer(*paths: str) -> dict[str, dict[str, str]]:
    """The protocol of a firmware that has dropped some fields, ``Message.field``."""
    dropped = set(paths)
    return {name: {field: kind for field, kind in fields.items() if f"{name}.{field}" not in dropped} for name, fields in TODAY.items()}


def _pool(messages: dict[str, dict[str, str]]) -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="spacex/api/device/device.proto", package=PACKAGE, syntax="proto3")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        if name == "DishOutage":
            cause = message.enum_type.add(name="Cause")
            for number, word in enumerate(CAUSES):
                cause.value.add(name=word, number=number)
        for number, (field_name, kind) in enumerate(fields.items(), start=1):
            field = message.field.add(name=field_name, number=number, label=3 if kind.startswith("*") else 1)
            plain = kind.removeprefix("*")
            if plain in _KINDS:
                field.type = _KINDS[plain]
            elif plain == "Cause":
                field.type, field.type_name = 14, f".{PACKAGE}.DishOutage.Cause"
            else:
                field.type, field.type_name = 11, f".{PACKAGE}.{plain}"
    service = file.service.add(name="Device")
    service.method.add(name="Handle", input_type=f".{PACKAGE}.Request", output_type=f".{PACKAGE}.Response")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


@contextmanager
def fake_dish(answers: dict[str, dict[str, Any]], messages: dict[str, dict[str, str]] = TODAY, at: str = "127.0.0.1:0") -> Iterator[str]:
    """Answers by the field of `Response`; a request without one is refused as unimplemented. Gives HOST:PORT. at: where it listens."""
    pool = _pool(messages)
    request_class, response_class = (
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in ("Request", "Response")
    )

    def handle(request: Any, context: grpc.ServicerContext) -> Any:
        asked = request.ListFields()[0][0].name
        name = asked if asked.startswith("dish_") else f"dish_{asked}"
        if name not in answers:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "not in this firmware")
        return response_class(**{name: answers[name]})

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    method = grpc.unary_unary_rpc_method_handler(
        handle, request_deserializer=request_class.FromString, response_serializer=response_class.SerializeToString
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Handle": method}),))
    reflection.enable_server_reflection((SERVICE, reflection.SERVICE_NAME), server, pool)
    port = server.add_insecure_port(at)
    server.start()
    try:
        yield f"{at.rpartition(':')[0]}:{port}"
    finally:
        server.stop(None).wait()
