"""A message centre made of smpp34's own server, as a process of its own (its runtime may crash when Python ends).

Prints one line a message; sends a receipt and one message from a phone to whoever submits. usage: smpp34_server.py PORT
"""

from __future__ import annotations

import asyncio
import json
import sys

import smpp34


async def main(port: int) -> None:
    server = smpp34.Server("127.0.0.1", port, system_id="OTHER")
    await server.start()
    print(json.dumps({"ready": port}), flush=True)
    esme: smpp34.Esme | None = None
    count = 0
    while True:
        event = await server.next()
        if isinstance(event, smpp34.Esme):
            esme = event
        elif isinstance(event, smpp34.SubmitSmEvent):
            count += 1
            if event.destination_addr == "0":
                event.reject(0x0B)  # ESME_RINVDSTADR
                continue
            event.accept(f"{count:x}")
            print(json.dumps({"from": event.source_addr, "octets": event.short_message.hex(), "esm_class": event.esm_class}), flush=True)
            if esme is not None and event.registered_delivery:
                text = f"id:{count:x} sub:001 dlvrd:001 submit date:2611270900 done date:2611270901 stat:DELIVRD err:000 text:"
                await esme.deliver_sm(event.source_addr, text.encode(), source_addr=event.destination_addr, esm_class=4)
                await esme.deliver_sm(event.source_addr, b"ricevuto", source_addr=event.destination_addr)


asyncio.run(main(int(sys.argv[1])))
