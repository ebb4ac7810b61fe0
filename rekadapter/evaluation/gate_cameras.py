"""The gate of cameras: by a survey where there is one, or else by the faces of the test itself."""

from __future__ import annotations

from rekadapter.evaluation.gate_findings import FAIL, PASS, UNKNOWN, Evidences, Finding
from rekadapter.evaluation.record import SystemEntry
from rekadapter.evaluation.summary import CameraFitness
from rekadapter.evaluation.survey_results import ALERTS, INVESTIGATION, SurveyResult
from rekadapter.evaluation.wording import many


def judge_cameras(entry: SystemEntry, seen: Evidences) -> Finding:
    """Whether the cameras give faces that the use can live with."""
    if seen.survey is not None:
        return _surveyed(seen.survey, seen)
    rule = "on every camera the median eye distance allows the use (32 px or more; proposal)"
    own = [one for one in seen.cameras if one.system == entry.name]
    keys = (f"cameras[system={entry.name}]",)
    if not own:
        why = "the protocol names no camera: photographs say nothing about cameras"
        return Finding(UNKNOWN, rule, why, keys)
    allowed = {str(CameraFitness.USABLE_VERIFY), str(CameraFitness.GOOD)}
    if seen.record.rules.mode == "investigation":
        allowed.add(str(CameraFitness.INVESTIGATION_ONLY))
    unknown = [one.id for one in own if one.eye_px_p50 is None]
    unfit = [one.id for one in own if one.eye_px_p50 is not None and one.verdict not in allowed]
    if unfit:
        return Finding(FAIL, rule, f"too few pixels a face: {', '.join(unfit)}", keys)
    if unknown:
        return Finding(UNKNOWN, rule, f"no eye distance on {', '.join(unknown)}", keys)
    return Finding(PASS, rule, f"{len(own)} cameras give enough pixels", keys)


def _surveyed(survey: SurveyResult, seen: Evidences) -> Finding:
    """Every camera of the test, or of the survey where the test names none; unfit fails, however
    few people passed."""
    use = INVESTIGATION if seen.record.rules.mode == "investigation" else ALERTS
    rule = f"by the survey no camera is unfit for {use}, on enough people (limits: proposals)"
    keys = ("survey.cameras",)
    tested = {one.id for one in seen.cameras}
    own = [one for one in survey.cameras if not tested or one.id in tested]
    verdicts = {one.id: one.verdict(use) for one in own}
    unfit = [name for name, one in verdicts.items() if one.result == "unfit"]
    if unfit:
        why = verdicts[unfit[0]].why
        more = f"; also {', '.join(unfit[1:])}" if unfit[1:] else ""
        return Finding(FAIL, rule, f"{unfit[0]}: {why}{more}", keys)
    absent = sorted(tested - verdicts.keys())
    if absent or not verdicts:
        why = f"not surveyed: {', '.join(absent)}" if absent else "the survey holds no camera"
        return Finding(UNKNOWN, rule, why, keys)
    thin = [f"{one.id} ({one.why_not_enough})" for one in own if not one.enough]
    if thin:
        return Finding(UNKNOWN, rule, f"too few people passed: {', '.join(thin)}", keys)
    unknown = [name for name, one in verdicts.items() if one.result == "not known"]
    if unknown:
        return Finding(UNKNOWN, rule, f"no face was seen on {', '.join(unknown)}", keys)
    marginal = [name for name, one in verdicts.items() if one.result == "marginal"]
    why = f"{many(len(verdicts), 'camera')}, none unfit"
    return Finding(PASS, rule, f"{why}; marginal: {', '.join(marginal) or 'none'}", keys)
