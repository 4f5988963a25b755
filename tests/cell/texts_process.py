"""The text service alone, as a process that a test can kill at any moment. usage: texts_process.py DIRECTORY OPERATORS_FILE

Reads one JSON object a line from standard input, {"to": …, "text": …, "id": …}; says {"kept": id} when it is durable.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from tramontana.cell.beam_time import Rank
from tramontana.control.operators import Operators, parse_operators
from tramontana.control.store.database import Store
from tramontana.control.texts import Texts


async def main(directory: Path, operators: Operators) -> None:
    store = await Store.open(directory)
    ready = asyncio.Event()

    def listening(port: int) -> None:
        print(json.dumps({"listening": port}), flush=True)
        ready.set()

    texts = Texts(store, operators, time.time, on_listening=listening)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(texts.run())
        if operators.listen is not None:
            await ready.wait()
        print(json.dumps({"ready": True}), flush=True)
        while line := await reader.readline():
            order = json.loads(line)
            async with store.write() as connection:
                await texts.put(
                    connection, origin="test", destination=order["to"], body=order["text"], rank=Rank.ROUTINE, request_id=order["id"]
                )
            texts.wake()
            print(json.dumps({"kept": order["id"]}), flush=True)
        await texts.stop()
        running.cancel()
    await store.close()


FILE = Path(sys.argv[2])
asyncio.run(main(Path(sys.argv[1]), parse_operators(FILE.read_text(), FILE.parent)))
