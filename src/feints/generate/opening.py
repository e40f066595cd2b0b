"""From settings to an open text source, for the sources that need no weights."""

from __future__ import annotations

from feints.errors import SettingsError
from feints.generate.openai import OpenAISource
from feints.generate.replay import ReplaySource
from feints.generate.settings import BudgetSettings, TeacherSettings
from feints.generate.source import TextSource


def open_source(settings: TeacherSettings) -> TextSource:
    """The endpoint or the recorded file the settings name; `transformers` and `lab` are opened by the caller.

    Raises:
        SettingsError: something needed is not set.
        DataError: the recorded file cannot be read.
    """
    if settings.source == "openai":
        return OpenAISource(settings)
    if settings.source == "replay":
        if settings.path is None:
            raise SettingsError("teacher.source is replay but teacher.path is not set; name the recorded .jsonl file")
        return ReplaySource.from_jsonl(
            settings.path, model=settings.record_model, method=settings.record_method, missing=settings.missing
        )
    raise SettingsError(f"teacher.source {settings.source!r} is not opened here; use openai or replay")


def check_prices(teacher: TeacherSettings, budget: BudgetSettings) -> None:
    """See that a budget in money can be kept.

    Raises:
        SettingsError: the price table does not name the model, or prices it in another currency.
    """
    if budget.money is None or teacher.source != "openai":
        return
    price = teacher.prices.get(teacher.model)
    if price is None:
        raise SettingsError(
            f"budget.money is set but teacher.prices does not name {teacher.model!r}; add its input and output price "
            "per million tokens"
        )
    if price.currency != budget.currency:
        raise SettingsError(
            f"teacher.prices is in {price.currency} and budget.money in {budget.currency}; state both in one currency"
        )
