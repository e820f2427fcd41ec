"""Shares, spreads and ratios on made-up bags whose truth is known."""

import numpy as np
import pytest
from scipy.special import expit

from elkutils import ledger
from elkutils.evaluation import auroc, brier_split, correlations
from elkutils.study import head_enough, members
from elkutils.study.controls import redrawn
from elkutils.study.members import HARD, HELD_OUT

RULES = ledger.claims()["C7b"].criteria


def made_bag(seed, apart=0.2, shifted=0.2, cities=40):
    """16 members that see the truth more or less clearly, by `shifted` on hard rows."""
    rng, found = np.random.default_rng(seed), {}
    for kind, sd in ((HELD_OUT, apart), (HARD, shifted)):
        y = np.tile([0, 1], cities)
        clarity = 0.8 + sd * rng.standard_normal((16, 1))
        log_odds = clarity * (2 * y - 1) + rng.standard_normal(2 * cities)
        found[kind] = log_odds, y, np.repeat([f"{kind} {i}" for i in range(cities)], 2)
    return found


BAGS = {seed: made_bag(seed) for seed in range(3)}


RECORD = {"seeds": [members.entry(seed, {"made": bag}) for seed, bag in BAGS.items()]}


def test_the_share_is_that_of_the_split():
    found = members.share(members.columns(RECORD, "made", HARD), resamples=100)
    each = [brier_split(bag[HARD][1], expit(bag[HARD][0])).share for bag in BAGS.values()]
    assert found.estimate == pytest.approx(np.mean(each), abs=1e-3)  # units of 1e-4


def test_the_rule_on_the_share_tells_its_controls_apart():
    columns = members.columns(RECORD, "made", HARD)
    passes, fails = members.share_controls(RULES["variance share"], columns, 5)
    assert passes.rate > 0.9
    assert fails.rate == 0


def test_an_entry_has_one_number_per_city_and_the_share_of_safe_answers():
    log_odds, y, groups = BAGS[0][HELD_OUT]
    found = RECORD["seeds"][0]
    assert found["groups"][HELD_OUT] == sorted(set(groups))
    made = found["bags"]["made"][HELD_OUT]
    city = groups == found["groups"][HELD_OUT][3]
    variance = brier_split(y, expit(log_odds)).variance[city].mean()
    assert members.UNIT * made["variance"][3] == pytest.approx(variance, abs=members.UNIT)
    assert made["safe"] == pytest.approx(np.mean(log_odds < 0), abs=1e-4)


def made_rows(n=60, asked=20, d=12):
    rng = np.random.default_rng(0)
    rows = {}
    for kind, count in {"train": n, HELD_OUT: asked, HARD: asked}.items():
        y = np.tile([0, 1], count // 2)
        X = rng.standard_normal((count, d))
        X[:, 0] += 2 * y - 1
        rows[kind] = X, y, np.repeat([f"{kind} {i}" for i in range(count // 2)], 2)
    return rows


def in_tokens(rows, tokens=3):
    """Rows (n, tokens, d) whose last token is the row and whose first is absent."""
    rng = np.random.default_rng(1)
    found = {}
    for kind, (X, y, groups) in rows.items():
        more = rng.standard_normal((len(X), tokens, X.shape[1]))
        more[:, 0], more[:, -1] = 0, X
        found[kind] = more, y, groups
    return found


@pytest.mark.parametrize("name", members.MAKERS)
def test_each_bag_has_members_that_read_the_labels_and_differ(name, monkeypatch):
    rows = in_tokens(made_rows()) if name in members.OF_TOKENS else made_rows()
    monkeypatch.setattr(members, "LOSS", 0.5)  # a weak threshold is soon met
    monkeypatch.setattr(members, "WIDE", 32)  # a wider one's mode reads nothing
    monkeypatch.setattr(members, "TOKENS_WIDTH", 8)
    bag = members.language_bags(rows, 0, [name])[name]
    log_odds, y, _ = bag[HELD_OUT]
    assert log_odds.shape == (members.SIZE, len(y))
    assert auroc(y, log_odds.mean(axis=0)) > 0.6
    assert log_odds.std(axis=0).min() > 0


def test_independent_weights_have_the_mean_field_variance():
    """With orthogonal columns the posterior is independent, and mean field is near to it."""
    rng = np.random.default_rng(0)
    X = np.linalg.qr(rng.standard_normal((200, 8)))[0] * np.sqrt(200)
    y = (rng.random(200) < expit(X[:, 0])).astype(int)
    mean, exact = (
        make(X, y, None, np.eye(8), 0) for make in (members._mean_field, members._posterior)
    )
    near = exact.reshape(-1, 8)
    error = near.std(axis=0) / np.sqrt(members.SIZE)
    assert (np.abs(mean.mean(axis=0) - near.mean(axis=0)) < 4 * error).all()
    spreads = [np.sqrt(part.var(axis=0, ddof=1).mean()) for part in (mean, near)]
    assert 0.75 < spreads[0] / spreads[1] < 1.25  # 15 × 8 degrees of freedom: 6.5% error


def test_parts_continue_and_keep_their_numbers(tmp_path):
    rows, told = made_rows(), []
    rows |= dict.fromkeys((members.NEGATED, members.OTHER), rows[HARD])
    names = [members.DRAWS, members.RESAMPLED]
    first, bags = members.measure(rows, 0, tmp_path, told.append, names)
    again, _ = members.measure(rows, 0, tmp_path, told.append, names)
    assert first == again
    assert len(told) == 2
    assert set(first["prior part"]) == set(members.KINDS)
    assert bags[members.DRAWS][HARD][0].shape == (members.SIZE, 20)


def test_the_last_token_is_scaled_as_rows_are_and_tokens_together(monkeypatch):
    from elkutils.study.scaling import z_scored

    rng = np.random.default_rng(0)
    raw = [rng.standard_normal((n, 4, 3)) for n in (30, 20)]
    raw[0][:, 0] = 0
    train, asked = members._tokens_scaled(*raw)
    assert train.shape == raw[0].shape
    assert not train[:, 0].any()
    np.testing.assert_allclose(train[:, 1:].reshape(-1, 3).std(axis=0), 1, atol=1e-5)
    scaled = z_scored(raw[0][:, 1:].reshape(-1, 3), raw[1].reshape(-1, 3))[1]
    np.testing.assert_allclose(asked.reshape(-1, 3), scaled, atol=1e-5)


def test_the_vaults_bags_are_of_the_head_and_of_all_weights(tmp_path):
    found = members.measure_vault(0, tmp_path, cases=10)
    head, whole = (found["bags"][name] for name in members.VAULT)
    assert len(found["groups"][HARD]) == 10
    assert head[HARD]["variance"] != whole[HARD]["variance"]
    assert found["harm"][HARD] <= 1


def made_prior(seed, progress):
    """A linearised network on few rows, its body as wide as its head."""
    from elkutils.inference.networks.pretrained import Kernel

    rows = made_rows()
    parts = [rows["train"], rows[HELD_OUT], rows[HARD]]
    X, y, groups = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    bounds = {"train": slice(0, 60), "easy": slice(60, 80), "hard": slice(80, 100)}
    kernels = [
        Kernel(features @ features[:60].T, np.sum(features**2, axis=1))
        for features in (X, np.tanh(X @ np.random.default_rng(2).standard_normal((12, 12))))
    ]
    prior = head_enough.Prior(*kernels, y, bounds)
    return head_enough.LanguagePrior(prior, 1.0, groups, [], np.zeros((0, 12)))


def test_the_language_models_bags_are_draws_of_one_prior(monkeypatch, tmp_path):
    asked, told = [], []

    def prior(seed, progress):
        asked.append(seed)
        return made_prior(seed, progress)

    monkeypatch.setattr(head_enough, "language_prior", prior)
    first = members.measure_linearised(3, tmp_path, told.append)
    again = members.measure_linearised(3, tmp_path, told.append)
    assert first == again
    assert asked == [3]  # once for both bags, and not again
    assert len(told) == len(members.LINEARISED) == 2

    bags = members.linearised_bags(3)
    made = made_prior(3, False)
    for name, s in members.LINEARISED.items():
        every = made.prior.answer(s, draws=100, seed=3).log_odds
        for kind, of in ((HELD_OUT, "easy"), (HARD, "hard")):
            log_odds, y, groups = bags[name][kind]
            rows = made.prior.rows[of]
            assert log_odds.shape == (members.SIZE, 20)
            np.testing.assert_array_equal(log_odds, members._spaced(every)[:, rows])
            np.testing.assert_array_equal(y, made.prior.y[rows])
            np.testing.assert_array_equal(groups, made.groups[rows])
            assert sorted(set(groups)) == first["groups"][kind]
    head, whole = (bags[name][HARD][0].var() for name in members.LINEARISED)
    assert whole != head


def test_the_recorded_run_has_what_the_chapter_asks():
    found = members.recorded()
    assert found["command"].endswith("--profile book")
    assert found["size"] == {
        **vars(members.SIZES["book"]),
        "seeds": list(range(10, 20)),
        "large": [30, 31, 32],
        "linearised": [40, 41],
    }
    count = dict.fromkeys((*members.WIDE_ONES, *members.OF_TOKENS), 3)
    count |= dict.fromkeys(members.LINEARISED, 2)
    for name, kind in members.places():
        variance, member, _, seeds = members.columns(found, name, kind)
        assert len(np.unique(seeds)) == count.get(name, 10)
        assert (variance <= member + members.UNIT).all()
        judged = kind != HELD_OUT and name not in members.BY_ROW
        assert ((name, kind) in members.spreads(found)) == judged


def test_the_spread_is_that_of_members_aurocs():
    found = members.spread(BAGS, HARD, resamples=50)
    ratios = []
    for bag in BAGS.values():
        sds = []
        for kind in (HARD, HELD_OUT):
            log_odds, y, _ = bag[kind]
            ones = np.ones((1, len(y)))
            probits = members.probit_aurocs(y, log_odds, ones)[:, 0]
            from scipy.stats import norm

            np.testing.assert_allclose(norm.cdf(probits), [auroc(y, m) for m in log_odds])
            sds.append(probits.std(ddof=1))
        ratios.append(sds[0] / sds[1])
    assert found.estimate == pytest.approx(np.mean(ratios))


def test_fewer_rows_alone_are_no_wider_spread():
    """Elements are fewer than cities; AUROCs of fewer rows scatter more."""
    rng, bags = np.random.default_rng(0), {}
    for seed in range(8):
        bag = {}
        for kind, cities in ((HELD_OUT, 90), (HARD, 25)):
            y = np.tile([0, 1], cities)
            log_odds = 2 * y - 1 + 2 * rng.standard_normal((16, len(y)))
            bag[kind] = log_odds, y, np.repeat([f"{kind} {i}" for i in range(cities)], 2)
        bags[seed] = bag
    assert members.spread(bags, HARD, resamples=50).estimate == pytest.approx(1, abs=0.15)
    whole = []  # without blocks the ratio is that of the square roots, 1.9
    for bag in bags.values():
        sds = []
        for kind in (HARD, HELD_OUT):
            log_odds, y, _ = bag[kind]
            sds.append(members.probit_aurocs(y, log_odds, np.ones((1, len(y)))).std(ddof=1))
        whole.append(sds[0] / sds[1])
    assert np.mean(whole) > 1.5


def test_blocks_hold_as_many_groups():
    groups = np.repeat(np.arange(7), 2)
    block = members._dealt(groups, 3, 0)
    for one in (0, 1):
        assert len(np.unique(groups[block == one])) == 3
    assert (block == -1).sum() == 2


def test_a_perfect_member_is_half_a_pair_from_the_ceiling():
    y = np.array([0, 0, 1, 1])
    found = members.probit_aurocs(y, np.array([[0.0, 1.0, 2.0, 3.0]]), np.ones((1, 4)))
    from scipy.stats import norm

    assert norm.cdf(found[0, 0]) == pytest.approx(1 - 1 / 8)


def test_members_that_scatter_more_under_a_shift_are_found():
    wide = {seed: made_bag(seed, shifted=0.8) for seed in range(3)}
    assert members.spread(wide, HARD, resamples=50).estimate > 2
    assert members.spread(BAGS, HARD, resamples=50).estimate < 1.5


def test_the_rule_on_bases_tells_its_controls_apart():
    rng = np.random.default_rng(0)
    common = rng.standard_normal((10, 1, 200))
    heads = common + 0.2 * rng.standard_normal((10, 8, 200))
    rule = ledger.claims()["C7c"].criteria["correlation"]
    passes, fails = members.base_controls(rule, heads, 2)
    assert (passes.rate, fails.rate) == (1, 0)
    table = correlations(heads)
    found = members.ratio(table, resamples=200)
    off = ~np.eye(10, dtype=bool)
    assert found.estimate == pytest.approx(table[off].mean() / np.diag(table).mean())
    assert found.upper < 0.3
    one = np.tile(heads[:1], (10, 1, 1)) + 0.2 * rng.standard_normal(heads.shape)
    assert members.ratio(correlations(one), resamples=200).estimate > 0.95


def test_redrawn_rows_keep_groups_together():
    groups, seeds = np.repeat(np.arange(5), 2), np.zeros(10, int)
    rows, fresh, again = redrawn(groups, seeds, np.random.default_rng(0))
    assert len(rows) == len(fresh) == len(again)
    for group in np.unique(fresh):
        assert len(set(groups[rows[fresh == group]])) == 1
        assert (fresh == group).sum() == 2


def test_three_bases_have_an_interval_though_a_resample_may_be_of_one():
    table = np.full((3, 3), 0.4) + 0.5 * np.eye(3)
    with pytest.warns(UserWarning, match="groups holds 3"):
        found = members.ratio(table, resamples=500)
    assert found.estimate == pytest.approx(0.4 / 0.9)
    assert found.upper == 1.0


def test_a_resample_of_one_class_ranks_nothing():
    y, log_odds = np.array([0, 0, 1, 1]), np.array([[0.0, 1.0, 2.0, 3.0]])
    found = members.probit_aurocs(y, log_odds, np.array([[1.0, 1.0, 0.0, 0.0]]))
    assert found == pytest.approx(0.0)


def test_weights_across_the_training_rows_keep_their_prior():
    rng = np.random.default_rng(0)
    train = np.zeros((5, 100))
    train[:, :4] = rng.standard_normal((5, 4))
    asked = rng.standard_normal((50, 100))
    weights = rng.standard_normal((4000, 100)) * 2 / np.sqrt(100)
    weights[:, :4] = 1.0  # what labels have fixed
    log_odds = weights @ asked.T
    rows = {"train": (train, None, None), HARD: (asked, None, None)}
    found = members.prior_part(rows, {HARD: (log_odds, None, None)}, HARD)
    assert found == pytest.approx(1, abs=0.02)
    loose = rng.standard_normal((4000, 100)) * 4 / np.sqrt(100)
    loose[:, 4:] = weights[:, 4:]
    found = members.prior_part(rows, {HARD: (loose @ asked.T, None, None)}, HARD)
    assert found == pytest.approx(96 / (96 + 4 * 4), abs=0.03)


def test_the_language_models_bags_have_the_width_that_votes_alone():
    records = [*head_enough.recorded()["language"].values()]
    voting = [s for s in head_enough.SCALES if not head_enough.votes(records, s)]
    assert [*members.LINEARISED.values()] == [0.0, *voting]
    own = {*members.SIZES["book"].linearised}
    others = {*members.SIZES["book"].seeds, *members.SIZES["book"].large}
    assert not own & (others | {int(seed) for seed in head_enough.recorded()["language"]})
