"""A program whose broker and results the environment names: `taskiq worker` runs it."""

from __future__ import annotations

import os

from fastapi import FastAPI

from fastask import FastTask
from tests.faults.tasks import declare

ft = FastTask(
    "tests.faults.program:app", "env:FAULTS_URL", results=os.environ.get("FAULTS_RESULTS")
)
broker = ft.broker
app = FastAPI(lifespan=ft.lifespan())
declare(ft, is_former="FAULTS_FORMER" in os.environ)
