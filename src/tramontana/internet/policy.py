"""Policy of a site: which carriers which traffic may use, and why not the others.

A policy is a TOML file:

    prefer = ["fibre", "starlink", "sicral-2"]     # carriers in order; those not named come after, as their uplinks are numbered

    [[rules]]
    name = "calls and urgent data on sovereign ground"
    kinds = ["voice", "data"]                      # left out: all
    at_least = "immediate"                         # precedence; left out: routine
    jurisdictions = ["IT", "EU"]                   # whose law may bind the operator; left out: any
    landing_countries = ["IT"]                     # where traffic may reach the ground: all places that the carrier uses
    only = ["fibre", "sicral-2"]                   # carriers by id; left out: any
    never = ["starlink"]
    highest_price = { amount = 300, currency = "EUR" }   # a month and site
    several_uplinks = true                         # one TCP connection may use all that are allowed at once; left out: one (uplinks.md)
    copies = "always"                              # small urgent packets go over a second carrier too; left out: "on suspicion"

    [[rules]]
    name = "everything else"

    [caps.starlink]
    gigabytes_a_month = 50
    beyond = "immediate"                           # what may still use it then; left out: nothing

The first rule that fits a flow class decides. Every class must be decided by one, so that nothing is allowed by being forgotten.
What is not known of a carrier (its jurisdiction, its price) never passes a rule that asks for it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tramontana.carriers.carrier import Carrier
from tramontana.complaints import complaints
from tramontana.errors import LocalError
from tramontana.internet.flow_class import FlowClass, Kind
from tramontana.precedence import Precedence, PrecedenceLabel

OCTETS_A_GIGABYTE = 1e9


class PolicyError(LocalError):
    """The policy file is not usable; the message names the place. The site keeps the policy that it had, or stays blocked without one."""


Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
Names = Annotated[tuple[str, ...], Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class HighestPrice(_Strict):
    """A month and site."""

    amount: float = Field(gt=0)
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class Rule(_Strict):
    """What the flow classes that it fits may use."""

    name: str = Field(min_length=1, max_length=100)
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)] = tuple(Kind)
    at_least: PrecedenceLabel = "routine"
    jurisdictions: Annotated[tuple[Country, ...], Field(min_length=1)] | None = None
    landing_countries: Annotated[tuple[Country, ...], Field(min_length=1)] | None = None
    only: Names | None = None
    never: Names | None = None
    highest_price: HighestPrice | None = None
    several_uplinks: bool = False
    copies: Literal["on suspicion", "always"] = "on suspicion"
    """When small packets of voice, and of data of immediate and above, go over a second carrier as well."""

    def fits(self, flow: FlowClass) -> bool:
        return flow.kind in self.kinds and flow.precedence >= Precedence.parse(self.at_least)

    def objections(self, carrier: Carrier) -> list[str]:
        """Why this carrier may not be used; empty if it may."""
        found: list[str] = []
        if self.only is not None and carrier.id not in self.only:
            found.append(f"only {', '.join(self.only)} may be used")
        if self.never is not None and carrier.id in self.never:
            found.append("this carrier is excluded")
        if self.jurisdictions is not None and carrier.jurisdiction not in self.jurisdictions:
            found.append(f"its operator is under the law of {carrier.jurisdiction or 'a country not known'}")
        if self.landing_countries is not None:
            elsewhere = [country for country in carrier.landing_countries if country not in self.landing_countries]
            if elsewhere:
                found.append(f"its traffic may land in {', '.join(elsewhere)}")
            elif not carrier.landing_countries:
                found.append("where its traffic lands is not known")
        if self.highest_price is not None:
            found += self._price_objections(carrier, self.highest_price)
        return found

    def _price_objections(self, carrier: Carrier, limit: HighestPrice) -> list[str]:
        if carrier.price is None:
            return ["its price is not known"]
        if carrier.price.currency != limit.currency:
            return [f"its price is in {carrier.price.currency}, the limit in {limit.currency}"]
        price = carrier.price.low if carrier.price.high is None else carrier.price.high
        return [f"it costs {price:g} {limit.currency} a month, more than {limit.amount:g}"] if price > limit.amount else []


class Cap(_Strict):
    """A metered carrier."""

    gigabytes_a_month: float = Field(gt=0)
    beyond: PrecedenceLabel | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """May a flow class use a carrier, by which rule, and if not, why not."""

    allowed: bool
    rule: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"allowed by “{self.rule}”" if self.allowed else f"refused by “{self.rule}”: {'; '.join(self.reasons)}"


class Policy(_Strict):
    """Rules, the order of preference, and caps."""

    prefer: tuple[str, ...] = ()
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]
    caps: dict[str, Cap] = {}

    @field_validator("rules")
    @classmethod
    def _decides_every_class(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        forgotten = [flow.label for flow in FlowClass if not any(rule.fits(flow) for rule in rules)]
        if forgotten:
            raise ValueError(f"no rule decides {'; '.join(forgotten)}: add one at the end that fits everything")
        for i, rule in enumerate(rules):
            if not any(rule.fits(flow) and not any(r.fits(flow) for r in rules[:i]) for flow in FlowClass):
                raise ValueError(f"rule “{rule.name}” decides nothing: the rules before it fit all that it fits; move it up or delete it")
            if rule.copies == "always":
                _check_copies(rule, [flow for flow in FlowClass if rule.fits(flow) and not any(r.fits(flow) for r in rules[:i])])
        return rules

    def rule(self, flow: FlowClass) -> Rule:
        """The rule that decides this class."""
        return next(rule for rule in self.rules if rule.fits(flow))

    def evaluate(self, flow: FlowClass, carrier: Carrier, used_octets: float = 0.0) -> Verdict:
        """used_octets: what this carrier carried this month, both directions."""
        rule = self.rule(flow)
        reasons = rule.objections(carrier)
        cap = self.caps.get(carrier.id)
        if cap is not None and (spent := self.spent(carrier, used_octets)) is not None:
            if cap.beyond is None:
                reasons.append(spent)
            elif flow is FlowClass.BULK or flow.precedence < Precedence.parse(cap.beyond):
                reasons.append(f"{spent}; only {cap.beyond} and above go on")
        return Verdict(not reasons, rule.name, tuple(reasons))

    def spent(self, carrier: Carrier, used_octets: float) -> str | None:
        """That its cap is used up, in words; None if it is not or there is none. used_octets: as in `evaluate`."""
        cap = self.caps.get(carrier.id)
        if cap is None or used_octets < cap.gigabytes_a_month * OCTETS_A_GIGABYTE:
            return None
        return f"its {cap.gigabytes_a_month:g} GB of this month are used up"

    def explain(self, carriers: Mapping[str, Carrier], used_octets: Mapping[str, float]) -> dict[FlowClass, dict[str, Verdict]]:
        """Every class and carrier, for people."""
        return {
            flow: {id_: self.evaluate(flow, carrier, used_octets.get(id_, 0.0)) for id_, carrier in carriers.items()} for flow in FlowClass
        }

    def preference(self, carrier: Carrier) -> int:
        """Lower is preferred."""
        return self.prefer.index(carrier.id) if carrier.id in self.prefer else len(self.prefer)


def _check_copies(rule: Rule, decided: list[FlowClass]) -> None:
    """Raises `ValueError` where copies at all times can never be made."""
    if not any(flow.is_urgent for flow in decided):
        raise ValueError(
            f'rule “{rule.name}” has copies = "always", but decides neither voice nor data of immediate and above, '
            "of which alone copies are sent: delete it there, or move it to the rule of voice"
        )
    if rule.only is not None and len(set(rule.only) - set(rule.never or ())) < 2:
        raise ValueError(
            f'rule “{rule.name}” has copies = "always", which takes a second carrier, but allows fewer than two: '
            "name another under “only”, or delete copies"
        )


def parse_policy(text: str) -> Policy:
    """Read a policy file. Raises `PolicyError` that says where and what."""
    try:
        return Policy.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"the policy is not TOML: {error}") from None
    except ValidationError as error:
        raise PolicyError("the policy cannot be used: " + complaints(error)) from None
