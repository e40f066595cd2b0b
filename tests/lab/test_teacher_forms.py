"""What the lab's teacher writes in every form runs, and is right exactly where the teacher knows it to be."""

from __future__ import annotations

import pytest

from feints.generate.body import request_body
from feints.generate.prompt import TEACHER, Prompt
from feints.generate.source import Request, Sampling
from feints.lab.teacher import LabTeacher
from feints.lab.world import problems
from feints.methods import kpdd
from feints.records import Finish, Form, Judgement
from feints.verify import constraints, equations, programs
from feints.verify.pool import CheckerPool

PROMPTS = {
    Form.COT: TEACHER,
    Form.POT: programs.TEACHER,
    Form.EOT: equations.TEACHER,
    Form.SAT: constraints.TEACHER,
}
PROBLEMS = 60


@pytest.mark.slow
@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("form", PROMPTS)
def test_a_verdict_agrees_with_what_the_teacher_did(form: Form, labelled: bool) -> None:
    teacher, items, truths = LabTeacher(), [], []
    for problem in problems("train", PROBLEMS):
        prompt, filled = (kpdd.IN_ONE, {"how": kpdd.HOW[form]}) if labelled else (PROMPTS[form], {})
        messages = Prompt.messages(prompt, problem, **filled)
        request = Request(messages=messages, sampling=Sampling(temperature=0.9, max_tokens=600), sample_index=0, seed=1)
        body = request_body(request, teacher.model)
        (choice,), (truth,) = teacher.respond(body)["choices"], teacher.explain(body)
        assert str(truth.gold) == problem.answer
        items.append((problem, choice["message"]["content"], "", Finish.STOP))
        truths.append(truth)
    judged_as = Form.KEYPOINTS if labelled and form is Form.COT else form
    with CheckerPool(workers=1) as pool:
        verdicts = pool.check_all(items, judged_as)
    for (problem, text, _, _), truth, verdict in zip(items, truths, verdicts, strict=True):
        assert (verdict.value is Judgement.CORRECT) == truth.right, (problem.question, text, verdict, truth)
        assert verdict.value is not Judgement.NOT_CHECKED, (text, verdict)
    assert sum(truth.right for truth in truths) > PROBLEMS / 4
