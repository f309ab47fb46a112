"""Inverters as SunSpec devices: measurements to registers, registers to setpoints and settings.

Powers are injection positive on both sides: the models 701 and 103 count active power so, and reactive power that is
injected (over-excited) is positive (SunSpec DER Information Model Specification V1.0; IEEE 1547-2018, 3.1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from vpp.kernel import quality as q
from vpp.kernel.setpoints import AUTONOMOUS, FOLLOW, LIMIT, Setpoints
from vpp.kernel.signals import BoolArray, FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry
from vpp.wire.clock import WallClock
from vpp.wire.sunspec.bank import Bank
from vpp.wire.sunspec.images import Images
from vpp.wire.sunspec.layout import BASE, Layout, lay_out
from vpp.wire.sunspec.settings import CURVES, POINTS, Values, from_registers, to_registers

MODERN: Final = (1, 701, 702, 703, 704, 705, 706, 707, 708, 709, 710, 711, 712, 714, 715)
LEGACY: Final = (1, 103, 120, 121, 122, 123)
STORES: Final[Mapping[str, tuple[int, ...]]] = {"modern": (713, 802), "legacy": (124,)}
STORED: Final = 3  # curves, the one in force among them
COUNTS: Final[Mapping[int, Mapping[str, int]]] = {
    **{model: {"NCrv": STORED, "NPt": POINTS[model]} for model in (705, 706, 712)},
    **{model: {"NCrvSet": STORED, "NPt": POINTS[model]} for model in (707, 708, 709, 710)},
    711: {"NCtl": STORED},
    714: {"NPrt": 1},
}
# Scale factors that do not depend on the size of a device.
SCALES: Final[Mapping[str, int]] = {
    "701.V_SF": -2, "701.Hz_SF": -4, "701.PF_SF": -3, "702.PF_SF": -3, "702.V_SF": -1, "703.V_SF": -2, "703.Hz_SF": -3,
    "704.PF_SF": -4, "704.WMaxLimPct_SF": -2, "704.WSetPct_SF": -2, "704.VarSetPct_SF": -2,
    "705.V_SF": -2, "705.DeptRef_SF": -2, "705.RspTms_SF": -2, "706.V_SF": -2, "706.DeptRef_SF": -2, "706.RspTms_SF": -2,
    "707.V_SF": -2, "707.Tms_SF": -3, "708.V_SF": -2, "708.Tms_SF": -3, "709.Hz_SF": -3, "709.Tms_SF": -3,
    "710.Hz_SF": -3, "710.Tms_SF": -3, "711.Db_SF": -4, "711.K_SF": -4, "711.RspTms_SF": -2,
    "712.W_SF": -2, "712.DeptRef_SF": -2, "713.Pct_SF": -2, "802.SoC_SF": -2,
    "103.V_SF": -1, "103.Hz_SF": -2, "103.PF_SF": -2, "120.PFRtg_SF": -2, "121.VRef_SF": -1, "121.VRefOfs_SF": -1,
    "123.WMaxLimPct_SF": -2, "123.OutPFSet_SF": -4, "123.VArPct_SF": -2,
    "124.InOutWRte_SF": -2, "124.ChaState_SF": -2, "124.MinRsvPct_SF": -2,
}  # fmt: skip
# Scale factors by the size of a device: which rating they must hold, and the raw number that it may reach.
SIZED: Final[Mapping[str, tuple[str, ...]]] = {
    "w": ("701.W_SF", "702.W_SF", "103.W_SF", "120.WRtg_SF", "121.WMax_SF", "120.MaxChaRte_SF", "120.MaxDisChaRte_SF",
          "122.WAval_SF", "124.WChaMax_SF", "802.WChaDisChaMax_SF", "802.W_SF"),
    "va": ("701.VA_SF", "701.Var_SF", "702.VA_SF", "702.Var_SF", "103.VA_SF", "103.VAr_SF", "120.VARtg_SF", "120.VArRtg_SF",
           "121.VAMax_SF", "121.VArMax_SF", "122.VArAval_SF"),
    "a": ("701.A_SF", "702.A_SF", "103.A_SF", "120.ARtg_SF"),
    "wh": ("713.WH_SF", "802.WHRtg_SF", "120.WHRtg_SF"),
}  # fmt: skip
# Registers that can be written in the models and that an inverter here keeps as they are: nothing would come of them.
KEPT: Final = re.compile(
    r"1\.DA|702\.(?!WMax$).*|704\.(PFWAbs.*|VarSetPri|WRmp|WRmpRef|VarRmp|AntiIslEna)|705\.Crv\[.\]\.Pri|712\.Crv\[.\]\.Pri"
    r"|711\.Ctl\[.\]\.PMin|70[789]\..*MayTrip.*|710\..*MayTrip.*|(709|710)\..*MomCess.*|70[78]\..*MomCess\.Pt\[[12]\].*"
    r"|121\.(?!WMax$).*|123\..*(WinTms|RmpTms)|124\.(?!StorCtl_Mod|OutWRte|InWRte|InOutWRte_RvrtTms).*|802\.(?!CtrlHb).*"
)
SETTINGS: Final = re.compile(r"(70[3-9]|71[0-2]|123)\.")
REACH: Final = 30000.0
VOLATILE: Final = (704, 123, 124)  # the models that hold setpoints


@dataclass(frozen=True, slots=True)
class Nameplate:
    """Ratings of ``n`` devices.

    Attributes:
        serial: (n,) serial numbers; a resource's id does.
        p_max_mw: largest injection.
        p_charge_mw: largest charging, a magnitude; 0: none.
        s_mva, q_mvar: apparent and reactive power.
        v_nom: nominal voltage between a phase and neutral [V].
        e_mwh: store, 0: none.
    """

    serial: Sequence[str]
    p_max_mw: FloatArray
    p_charge_mw: FloatArray
    s_mva: FloatArray
    q_mvar: FloatArray
    v_nom: FloatArray
    e_mwh: FloatArray

    @property
    def n(self) -> int:
        """Number of devices."""
        return len(self.serial)


def device_layout(family: str = "modern", *, store: bool = False, base: int = BASE) -> Layout:
    """The registers of a device: "modern" (models 701 to 715), "legacy" (103, 120 to 124) or "both"."""
    families = ("modern", "legacy") if family == "both" else (family,)
    models = {"modern": MODERN, "legacy": LEGACY}
    wanted = [m for f in families for m in (*models[f], *(STORES[f] if store else ()))]
    return lay_out([(m, COUNTS.get(m, {})) for m in sorted(set(wanted))], base)


class Ders:
    """SunSpec devices of one layout: publish what they measure, take what they are told.

    Attributes:
        plate: their ratings.
        bank: registers with their life; `Bank.unit` is a Modbus unit, ``bank.decide`` may refuse writings.
    """

    def __init__(self, plate: Nameplate, layout: Layout, clock: WallClock, settings: Values | None = None) -> None:
        """Fill in ratings and the settings in force at first; every stored curve begins as the one in force."""
        self.plate, self.layout = plate, layout
        scales = {path: value for path, value in SCALES.items() if path in layout}
        self.images = Images(layout, plate.n, {**scales, **self._sized()})
        self.bank = Bank(self.images, clock)
        self.bank.fixed = frozenset(path for path in layout.registers if KEPT.fullmatch(path))
        self.models = frozenset(span.model for span in layout.models)
        for register in layout.registers.values():  # what can be written is implemented, unless it is said otherwise
            if register.point.writable and register.number:
                self.images.raw_put(register, np.zeros(plate.n))
        self._settings_at = np.array(
            [
                r.at + k
                for path, r in layout.registers.items()
                if SETTINGS.match(path) and r.point.writable
                for k in range(r.point.words)
            ],
            np.int64,
        )
        self._ratings()
        self._curves(settings or {})
        self._begin = self.images.words.copy()

    def publish(self, telemetry: Telemetry, on: BoolArray | None = None) -> None:
        """Put measurements into the registers; what is unknown or invalid is "not implemented".

        Args:
            telemetry: one column a device.
            on: (n,) whether each is connected to the grid; None: all are.
        """
        known = np.where((telemetry.quality & q.VALIDITY_MASK) < q.INVALID, telemetry.block, np.nan)
        t = Telemetry(known)
        p, r, v = t.p_mw * 1e6, t.q_mvar * 1e6, t.vm_pu * self.plate.v_nom
        s = np.hypot(p, r)
        with np.errstate(divide="ignore", invalid="ignore"):
            pf, a = np.where(s > 0, p / s, 1.0), s / (3 * v)
        on = np.ones(self.plate.n, np.bool_) if on is None else on
        running = on & ~np.isnan(p)
        self._put(701, W=p, Var=r, VA=s, PF=pf, LNV=v, LLV=v * np.sqrt(3.0), Hz=t.f_hz, A=a, VL1=v, VL2=v, VL3=v)
        self._put(701, St=running, InvSt=np.where(running, 3.0, 0.0), ConnSt=on)
        self._put(103, W=p, VAr=r, VA=s, PF=pf * 100, Hz=t.f_hz, A=a, AphA=a, AphB=a, AphC=a, PhVphA=v, PhVphB=v, PhVphC=v)
        self._put(103, St=np.where(running, 4.0, 1.0), PPVphAB=v * np.sqrt(3.0))
        self._put(714, **{"Prt[0].DCSta": running})
        self._status(on, running, t)
        self._put(713, SoC=t.soc * 100, WHAvail=t.soc * self.plate.e_mwh * 1e6)
        self._put(124, ChaState=t.soc * 100, ChaSt=np.select([p > 0, p < 0], [3.0, 4.0], 6.0))
        self._put(802, SoC=t.soc * 100, W=p)

    def _status(self, on: BoolArray, running: BoolArray, t: Telemetry) -> None:
        """Model 122: connected, available and operating as bits 0 to 2; what is available; which controls of 123 act."""
        if 122 not in self.models:
            return
        store, q_most = self.plate.e_mwh > 0, self.plate.q_mvar
        state = on * 3.0 + running * 4.0
        room = np.sqrt(np.maximum(self.plate.s_mva**2 - t.p_mw**2, 0.0))
        self._put(122, PVConn=np.where(store, 0.0, state), StorConn=np.where(store, state, 0.0), ECPConn=on)
        self._put(122, WAval=t.p_avail_max_mw * 1e6, VArAval=np.minimum(room, q_most) * 1e6)
        enables = ("123.WMaxLim_Ena", "123.VArPct_Ena", "123.OutPFSet_Ena")
        self._put(122, StActCtl=np.sum([(self.images.get(path) > 0) * 2.0**bit for bit, path in enumerate(enables)], axis=0))

    def beat(self, now_ns: int) -> None:
        """Move timers and heartbeats on: once a tick."""
        self.bank.step(now_ns)
        if 715 in self.models:
            self.images.put("715.DERHb", (now_ns // 1_000_000_000) % 2**31 * np.ones(self.plate.n))

    def reboot(self, row: int) -> None:
        """Switch a device off and on: setpoints and what runs are forgotten; settings, curves among them, are stored."""
        self.bank.forget(row)
        for span in self.layout.models:
            if span.model in VOLATILE:
                here = slice(span.at, span.at + span.length + 2)
                self.images.words[row, here] = self._begin[row, here]

    def setpoints(self, now_ns: int) -> Setpoints:
        """What the registers ask of each device now."""
        self.bank.step(now_ns)
        asked = Setpoints.neutral(self.plate.n)
        follow = np.zeros(self.plate.n, np.bool_)
        if 704 in self.models:
            follow |= self._by_704(asked)
        if 123 in self.models:
            self._by_123(asked)
        if 124 in self.models:
            follow |= self._by_124(asked)
        asked.mode = np.where(follow, FOLLOW, np.where(np.isfinite(asked.p_limit_mw), LIMIT, AUTONOMOUS))
        return asked

    def hold(self, settings: Values) -> None:
        """Put settings into the registers, name -> (n,); every stored curve becomes the one in force."""
        for curve in range(STORED):
            for path, values in to_registers(settings, curve).items():
                if path in self.layout:
                    self.images.put(path, values)

    def said(self) -> bytes:
        """The registers that settings are in, to see whether anything has changed in them; not what they count and tell."""
        return self.images.words[:, self._settings_at].tobytes()

    def settings(self) -> Values:
        """Settings in force, as far as the models say them: name -> (n,)."""
        s = self.plate.s_mva
        meant = from_registers(self.images.get, self.plate.q_mvar / s, self.plate.p_max_mw / s, self.models)
        if 123 in self.models and 704 not in self.models:
            factor = self.images.get("123.OutPFSet")  # its sign is the sign of reactive power
            meant["const_pf_enable"] = self.images.get("123.OutPFSet_Ena")
            meant["const_pf"], meant["const_pf_excitation"] = np.abs(factor), np.where(factor < 0, -1.0, 1.0)
        return meant

    def _by_704(self, asked: Setpoints) -> BoolArray:
        get, plate = self.images.get, self.plate
        limited = get("704.WMaxLimPctEna") > 0
        full = self._w_max("702.WMax")
        top = np.where(limited, get("704.WMaxLimPct") * 0.01 * full, np.where(full < plate.p_max_mw, full, np.inf))
        asked.p_limit_mw = np.minimum(asked.p_limit_mw, top)
        follow: BoolArray = get("704.WSetEna") > 0
        percent = get("704.WSetPct") * 0.01
        of = np.where(percent < 0, np.where(plate.p_charge_mw > 0, plate.p_charge_mw, plate.p_max_mw), plate.p_max_mw)
        asked.p_mw = np.where(follow, np.where(get("704.WSetMod") > 0, get("704.WSet") * 1e-6, percent * of), asked.p_mw)
        reactive = get("704.VarSetEna") > 0
        percent = get("704.VarSetPct") * 0.01
        mode = get("704.VarSetMod")
        bases = [plate.p_max_mw, plate.q_mvar, np.sqrt(np.maximum(plate.s_mva**2 - asked.p_mw**2, 0.0)), plate.s_mva]
        of = np.select([mode == k for k in range(4)], bases, 0.0)
        asked.q_mvar = np.where(reactive, np.where(mode > 3, get("704.VarSet") * 1e-6, percent * of), asked.q_mvar)
        asked.q_mode = np.where(reactive, FOLLOW, asked.q_mode)
        stopped = (get("703.ES") == 0) | (get("715.OpCtl") == 0)
        asked.connect = np.where(stopped, 0.0, asked.connect)
        return follow

    def _by_123(self, asked: Setpoints) -> None:
        get, plate = self.images.get, self.plate
        full = self._w_max("121.WMax")
        limited = get("123.WMaxLim_Ena") > 0
        top = np.where(limited, get("123.WMaxLimPct") * 0.01 * full, np.where(full < plate.p_max_mw, full, np.inf))
        asked.p_limit_mw = np.minimum(asked.p_limit_mw, top)
        mode = get("123.VArPct_Mod")
        names = ("123.VArWMaxPct", "123.VArMaxPct", "123.VArAvalPct")
        room = np.sqrt(np.maximum(plate.s_mva**2 - asked.p_mw**2, 0.0))
        shares = [get(name) * 0.01 * of for name, of in zip(names, (plate.p_max_mw, plate.q_mvar, room))]
        reactive = (get("123.VArPct_Ena") > 0) & (mode > 0) & (asked.q_mode != FOLLOW)
        asked.q_mvar = np.where(reactive, np.select([mode == k for k in (1, 2, 3)], shares, 0.0), asked.q_mvar)
        asked.q_mode = np.where(reactive, FOLLOW, asked.q_mode)
        asked.connect = np.where(get("123.Conn") == 0, 0.0, asked.connect)

    def _by_124(self, asked: Setpoints) -> BoolArray:
        """Charge and discharge limits; where they meet they leave one power, and the device follows it."""
        get, plate = self.images.get, self.plate
        mode = get("124.StorCtl_Mod").astype(np.int64)
        out, into = get("124.OutWRte") * 0.01 * plate.p_max_mw, get("124.InWRte") * 0.01 * plate.p_charge_mw
        asked.p_limit_mw = np.where(mode & 2, np.minimum(asked.p_limit_mw, out), asked.p_limit_mw)
        follow: BoolArray = (mode == 3) & (-into >= out)
        asked.p_mw = np.where(follow, out, asked.p_mw)
        return follow

    def _w_max(self, path: str) -> FloatArray:
        """Largest power by its setting, where that is below the rating [MW]."""
        set_to = self.images.get(path) * 1e-6
        return np.where(set_to < self.plate.p_max_mw * (1 - 1e-3), set_to, self.plate.p_max_mw)

    def _put(self, model: int, **values: FloatArray | BoolArray) -> None:
        if model in self.models:
            for name, value in values.items():
                self.images.put(f"{model}.{name}", value)

    def _sized(self) -> dict[str, IntArray]:
        """Scale factors so that one and a half times a rating fits."""
        plate = self.plate
        w = np.maximum(plate.p_max_mw, plate.p_charge_mw) * 1e6
        tops = {"w": w, "va": plate.s_mva * 1e6, "a": plate.s_mva * 1e6 / (3 * plate.v_nom), "wh": plate.e_mwh * 1e6}
        return {
            path: np.ceil(np.log10(np.maximum(1.5 * tops[kind], 1e-3) / REACH)).astype(np.int64)
            for kind, paths in SIZED.items()
            for path in paths
            if path in self.layout
        }

    def _ratings(self) -> None:
        plate = self.plate
        p, c, s, r = plate.p_max_mw * 1e6, plate.p_charge_mw * 1e6, plate.s_mva * 1e6, plate.q_mvar * 1e6
        a, wh, one = s / (3 * plate.v_nom), np.where(plate.e_mwh > 0, plate.e_mwh * 1e6, np.nan), np.ones(plate.n)
        for row, serial in enumerate(plate.serial):
            self.images.put_text("1.SN", serial, np.array([row]))
        for name, text in (("Mn", "VPP Core"), ("Md", "twin"), ("Vr", "1")):
            self.images.put_text(f"1.{name}", text)
        self._put(1, DA=one)
        self._put(701, ACType=2 * one, Alrm=0 * one)
        self._put(702, WMaxRtg=p, VAMaxRtg=s, VarMaxInjRtg=r, VarMaxAbsRtg=r, WChaRteMaxRtg=c, WDisChaRteMaxRtg=p, AMaxRtg=a)
        self._put(702, VNomRtg=plate.v_nom, NorOpCatRtg=one, AbnOpCatRtg=2 * one)
        self._put(702, WMax=p, VAMax=s, VarMaxInj=r, VarMaxAbs=r, WChaRteMax=c, WDisChaRteMax=p, VNom=plate.v_nom, AMax=a)
        self._put(703, ES=one)
        self._put(704, WMaxLimPct=100 * one, WMaxLimPctRvrt=100 * one)
        for stem in ("PFWInj", "PFWInjRvrt", "PFWAbs", "PFWAbsRvrt"):
            self._put(704, **{f"{stem}.PF": one})
        self._put(715, LocRemCtl=0 * one, OpCtl=one)
        # What stands behind the inverter is known; its volts and amperes are not, there is no model of a DC side.
        self._put(714, PrtAlrms=0 * one, **{"Prt[0].PrtTyp": (plate.e_mwh > 0) * one, "Prt[0].ID": one, "Prt[0].DCAlrm": 0 * one})
        self._put(713, WHRtg=wh, SoH=100 * one, Sta=0 * one)
        self._put(802, WHRtg=wh, WChaRteMax=c, WDisChaRteMax=p, LocRemCtl=0 * one, Typ=4 * one, State=3 * one)
        self._put(120, DERTyp=np.where(plate.e_mwh > 0, 82.0, 4.0), WRtg=p, VARtg=s, ARtg=a, VArRtgQ1=r, VArRtgQ4=-r)
        self._put(120, WHRtg=wh, MaxChaRte=c, MaxDisChaRte=p)
        self._put(121, WMax=p, VRef=plate.v_nom, VAMax=s, VArMaxQ1=r, VArMaxQ4=-r)
        self._put(123, Conn=one, WMaxLimPct=100 * one, OutPFSet=one)
        self._put(124, WChaMax=np.maximum(c, p), OutWRte=100 * one, InWRte=100 * one)

    def _curves(self, settings: Values) -> None:
        for model, (group, stem) in CURVES.items():
            if model in self.models:
                self._put(model, **{f"{stem}Rslt": np.ones(self.plate.n)})
                for curve in range(STORED):
                    self._put(model, **{f"{group}[{curve}].ReadOnly": np.full(self.plate.n, float(curve == 0))})
        self.hold(settings)
