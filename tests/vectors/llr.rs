//! `llr.json` and `get_elo.json`: likelihood ratios, Elo scales, the estimate of fixed-length tests.

use serde_json::{Value, json};
use shoal::domain::stats::StatsError;
use shoal::domain::stats::counts::Distribution;
use shoal::domain::stats::elo::{BayesElo, FixedEstimate, Outcomes, drawelo, elo_of_score, score_of_elo};
use shoal::domain::stats::llr;

use super::compare::{Case, Check, VectorFile, float, floats, number, numbers};

fn three(results: &[f64]) -> [f64; 3] {
    results.try_into().unwrap()
}

fn answer(case: &Case) -> Result<Value, StatsError> {
    let input = &case.input;
    let results = || floats(input, "results");
    let value = match case.function() {
        "LLR_logistic" => {
            json!({"llr": llr::llr_logistic(float(input, "elo0"), float(input, "elo1"), &results())?})
        }
        "LLR_normalized" => {
            json!({"llr": llr::llr_normalized(float(input, "elo0"), float(input, "elo1"), &results())?})
        }
        "LLR_normalized_closed_form" => {
            let llr =
                llr::llr_normalized_closed_form(float(input, "elo0"), float(input, "elo1"), &results())?;
            json!({ "llr": llr })
        }
        "LLR_bayes_trinomial" => {
            let results = three(&results());
            let llr = llr::llr_bayeselo(float(input, "bayeselo0"), float(input, "bayeselo1"), &results)?;
            json!({"llr": llr, "drawelo": drawelo(&results)?})
        }
        "moments" => {
            let distribution = Distribution::new(&results())?;
            let moments = distribution.moments();
            json!({
                "regularized": distribution.regularized,
                "n": distribution.n,
                "values": distribution.values,
                "probabilities": distribution.probabilities,
                "mean": moments.mean,
                "variance": moments.variance,
                "skewness": moments.skewness,
                "excess_kurtosis": moments.excess_kurtosis,
            })
        }
        "mle_mean" => {
            let empirical = Distribution::new(&results())?;
            let solution = llr::Constrained::with_mean(&empirical, float(input, "s"))?;
            json!({"probabilities": solution.probabilities(&empirical)})
        }
        "mle_t" => {
            assert_eq!(float(input, "ref"), 0.5);
            let empirical = Distribution::new(&results())?;
            let solution = llr::Constrained::with_t_value(&empirical, float(input, "t"))?;
            json!({"probabilities": solution.probabilities(&empirical)})
        }
        "llr_jumps_mean" => {
            json!({"jumps": numbers(&llr::llr_jumps(float(input, "s0"), float(input, "s1"), &results())?)})
        }
        "llr_approximations" => {
            let (s0, s1, s) = (float(input, "s0"), float(input, "s1"), float(input, "s"));
            let approximations = llr::approximate_llr(s0, s1, &results())?;
            let motion = llr::Motion::new(s0, s1, s, &Distribution::new(&results())?.moments());
            json!({
                "log_ratio_per_sample": approximations.log_ratio,
                "quadratic_per_sample": approximations.quadratic,
                "drift": motion.drift,
                "variance": motion.variance,
            })
        }
        "score_of_elo" => json!({"score": score_of_elo(float(input, "elo"))}),
        "elo_of_score" => json!({"elo": elo_of_score(float(input, "score"))}),
        "bayeselo" => {
            let point = BayesElo { bayeselo: float(input, "bayeselo"), drawelo: float(input, "drawelo") };
            let Outcomes { loss, draw, win } = point.outcomes();
            json!({"loss": loss, "draw": draw, "win": win, "elo": point.to_logistic()})
        }
        "bayeselo_of_proba" => {
            let outcomes =
                Outcomes { loss: float(input, "loss"), draw: float(input, "draw"), win: float(input, "win") };
            scale_point(BayesElo::of_outcomes(outcomes))
        }
        "elo_to_bayeselo" => {
            scale_point(BayesElo::of_logistic(float(input, "elo"), float(input, "draw_ratio")))
        }
        unknown => panic!("unknown function {unknown}"),
    };
    Ok(value)
}

fn scale_point(point: BayesElo) -> Value {
    json!({"bayeselo": number(point.bayeselo), "drawelo": number(point.drawelo)})
}

#[test]
fn likelihood_ratios_equal_the_reference() {
    let file = VectorFile::load("llr.json");
    file.check_all(|case| {
        let answer = answer(case).map_err(|error| error.to_string())?;
        // Where the reference gives up, the robust solver must still find the exact value.
        match case.expected.get("exact_llr") {
            Some(exact) => file.compare(&json!({"exact_llr": answer["llr"]}), &json!({"exact_llr": exact})),
            None => file.compare(&answer, &case.expected),
        }
    });
}

#[test]
fn fixed_length_estimates_equal_the_reference() {
    let file = VectorFile::load("get_elo.json");
    file.check_all(|case| -> Check {
        let estimate = FixedEstimate::new(&floats(&case.input, "results")).map_err(|e| e.to_string())?;
        let actual = json!({
            "elo": estimate.elo,
            "elo95": estimate.elo95,
            "los": estimate.los,
            "games": estimate.games,
            "mean": estimate.mean,
            "variance_per_game": estimate.variance_per_game,
        });
        file.compare(&actual, &case.expected)
    });
}
