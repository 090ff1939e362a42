//! Which groups stand in for which, for whom, and what is refused beforehand.

mod support;

use std::sync::{Arc, Mutex};

use http::Request;
use tokio::time::Instant;
use tower::{Layer, util::BoxCloneSyncService};
use ziggurat_core::{Body, Cause, Limit, Outcome, Principal, Scope};
use ziggurat_limit::LimitLayer;
use ziggurat_route::{
    Event, GroupBuilder, InvalidRoutes, List, PlanLayer, RetryPolicy, RouteLayer, Routes, RoutesBuilder,
    State, TagRules,
};
use ziggurat_translate::TranslateLayer;

use crate::support::{
    meter::{Listener, heard},
    *,
};

/// Groups of one deployment each, of the same name, that are asked once.
fn routes(names: &[&str]) -> RoutesBuilder {
    names.iter().fold(Routes::builder(), |routes, name| {
        routes.group(group(name, &[name]).retry(RetryPolicy::new(0)).build().expect("is a group"))
    })
}

fn layer(routes: RoutesBuilder) -> RouteLayer {
    RouteLayer::new(routes.build().expect("are routes")).random(|| 1 << 63)
}

fn upstream(acts: &[(&str, Act)]) -> Upstream {
    let upstream = Upstream::default();
    for (id, act) in acts {
        upstream.does(id, [act.clone()]);
    }
    upstream
}

fn error(status: u16, code: &str) -> Act {
    let body = format!(r#"{{"error":{{"message":"no","type":"invalid_request_error","code":"{code}"}}}}"#);
    Act::Answer(status, vec![], body)
}

fn may_use(models: &[&str]) -> Request<Body> {
    let mut principal = Principal::default();
    principal.models = Some(models.iter().map(|model| Arc::from(*model)).collect());
    let mut request = request("g", false);
    request.extensions_mut().insert(principal);
    request
}

#[tokio::test(start_paused = true)]
async fn the_first_cause_decides_which_list_is_followed() {
    for service in [around, alone] {
        for (act, expected) in [
            (fails(500), ["g", "general"]),
            (error(400, "context_length_exceeded"), ["g", "longer"]),
            (error(400, "content_policy_violation"), ["g", "milder"]),
        ] {
            let upstream =
                upstream(&[("g", act), ("general", ok("1")), ("longer", ok("2")), ("milder", ok("3"))]);
            let routes = routes(&["g", "general", "longer", "milder"])
                .fall_back(List::General, "g", ["general"])
                .fall_back(List::ContextWindow, "g", ["longer"])
                .fall_back(List::ContentPolicy, "g", ["milder"]);
            let got = call(&service(&layer(routes), &upstream), request("g", false)).await;
            assert_eq!(got.status, 200);
            assert_eq!(upstream.called(), expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cause_without_a_list_of_its_own_follows_the_general_one() {
    for code in ["context_length_exceeded", "content_policy_violation"] {
        let upstream = upstream(&[("g", error(400, code)), ("h", ok("1"))]);
        let layer = layer(routes(&["g", "h"]).fall_back(List::General, "g", ["h"]));
        assert_eq!(call(&around(&layer, &upstream), request("g", false)).await.status, 200);
        assert_eq!(upstream.called(), ["g", "h"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_goes_on_where_its_groups_do_and_ends_where_it_may() {
    let acts = ["g", "h", "i", "j"].map(|name| (name, fails(500)));
    for (most, expected) in [(5, &["g", "h", "i", "j"][..]), (2, &["g", "h", "i"]), (0, &["g"])] {
        let upstream = upstream(&acts);
        let routes = routes(&["g", "h", "i", "j"])
            .fall_back(List::General, "g", ["h", "j"])
            .fall_back(List::General, "h", ["i"])
            .max_fallbacks(most);
        let got = call(&around(&layer(routes), &upstream), request("g", false)).await;
        assert_eq!((got.status, upstream.called()), (500, expected.iter().map(|it| (*it).into()).collect()));
    }
}

#[test]
fn groups_that_many_paths_lead_to_are_followed_once() {
    const LAYERS: usize = 40;
    let names: Vec<_> = (0..LAYERS).flat_map(|layer| [format!("a{layer}"), format!("b{layer}")]).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // Either group of a layer falls back to both of the next: 2^39 paths, and one list.
    let layered = || {
        let pairs = names.chunks(2).zip(names.chunks(2).skip(1));
        pairs.fold(routes(&names), |routes, (from, to)| {
            from.iter()
                .fold(routes, |routes, from| routes.fall_back(List::General, *from, to.iter().copied()))
        })
    };
    let built = layered().max_fallbacks(usize::MAX).build().expect("are routes");
    let course = built.course("a0", None).expect("is a group");
    let found: Vec<_> = course.fallbacks(List::General).iter().map(|group| group.name()).collect();
    let firsts = (1..LAYERS).map(|layer| format!("a{layer}"));
    let expected: Vec<_> = firsts.chain((1..LAYERS).rev().map(|layer| format!("b{layer}"))).collect();
    assert_eq!(found, expected);
    let circle = layered().fall_back(List::General, "b39", ["b0"]).build().expect_err("is a circle");
    assert!(matches!(circle, InvalidRoutes::Cycle(_)), "{circle}");
}

#[tokio::test(start_paused = true)]
async fn default_fallbacks_are_for_those_without_a_list() {
    let all = ["g", "h", "default"];
    let acts = [("g", fails(500)), ("h", fails(500)), ("default", ok("1"))];
    let routes = || routes(&all).fall_back(List::General, "h", ["g"]).default_fallbacks(["default"]);
    for (model, expected) in [("g", &["g", "default"][..]), ("h", &["h", "g"]), ("default", &["default"])] {
        let upstream = upstream(&acts);
        call(&around(&layer(routes()), &upstream), request(model, false)).await;
        assert_eq!(upstream.called(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_alias_has_its_groups_fallbacks_and_its_group_the_aliases() {
    for from in ["g", "alias"] {
        for model in ["g", "alias"] {
            let upstream = upstream(&[("g", fails(500)), ("h", ok("1"))]);
            let routes = routes(&["g", "h"]).alias("alias", "g").fall_back(List::General, from, ["h"]);
            let got = call(&around(&layer(routes), &upstream), request(model, false)).await;
            assert_eq!((got.status, upstream.called()), (200, vec!["g".to_owned(), "h".to_owned()]));
        }
    }
}

#[test]
fn what_leads_nowhere_or_in_a_circle_is_refused() {
    let fall_back = |from: &'static str, to: &'static [&'static str]| {
        move |routes: RoutesBuilder| routes.fall_back(List::General, from, to.iter().copied())
    };
    let unknown = |of: &str| InvalidRoutes::Unknown { of: of.into(), name: "x".into() };
    let cycle = |path: &[&str]| InvalidRoutes::Cycle(path.iter().map(|name| (*name).into()).collect());
    let build = |change: &dyn Fn(RoutesBuilder) -> RoutesBuilder| {
        change(routes(&["g", "h", "i"])).build().expect_err("is refused")
    };
    assert_eq!(build(&fall_back("g", &["x"])), unknown("g"));
    assert_eq!(build(&fall_back("x", &["g"])), unknown("fallbacks"));
    assert_eq!(build(&|routes| routes.default_fallbacks(["x"])), unknown("*"));
    assert_eq!(build(&|routes| routes.alias("a", "x")), unknown("a"));
    assert_eq!(build(&|routes| routes.alias("h", "g")), InvalidRoutes::Twice("h".into()));
    assert_eq!(build(&fall_back("g", &["g"])), cycle(&["g", "g"]));
    let around = |routes| {
        let routes = fall_back("h", &["i"])(fall_back("i", &["g"])(routes));
        fall_back("g", &["h"])(routes)
    };
    let InvalidRoutes::Cycle(path) = build(&around) else { panic!("is a cycle") };
    assert_eq!((path.len(), &path[0]), (4, &path[3]));
    // Two ways to one group are no circle.
    let diamond = fall_back("h", &["i"])(fall_back("g", &["h", "i"])(routes(&["g", "h", "i"])));
    assert!(diamond.build().is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_may_not_use_the_fallback_gets_the_first_error() {
    for (models, status, expected) in [
        (&["g", "h"][..], 200, &["g", "h"][..]),
        (&["*"], 200, &["g", "h"]),
        (&["g"], 500, &["g"]),
        (&["g", "i"], 503, &["g", "i"]),
    ] {
        let upstream = upstream(&[("g", fails(500)), ("h", ok("1")), ("i", fails(503))]);
        let routes = routes(&["g", "h", "i"]).fall_back(List::General, "g", ["h", "i"]);
        let routes = routes.build().expect("are routes");
        let routed = around(&RouteLayer::new(routes.clone()), &upstream);
        // With the plan made ahead, too.
        for service in [routed.clone(), BoxCloneSyncService::new(PlanLayer::new(routes).layer(routed))] {
            let before = upstream.called().len();
            assert_eq!(call(&service, may_use(models)).await.status, status);
            assert_eq!(upstream.called()[before..], *expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_prompt_that_is_too_long_goes_where_it_fits_unasked() {
    let sized = |name: &'static str, window: u64| {
        let deployment = deployment(name).context_window(window);
        ziggurat_route::Group::new(name).deployment(deployment).build().expect("is a group")
    };
    let routes = || Routes::builder().group(sized("g", 2)).group(sized("h", 100_000));
    let upstream = upstream(&[("g", ok("1")), ("h", ok("2"))]);
    let alone = call(&around(&layer(routes()), &upstream), request("g", false)).await;
    assert_eq!((alone.status, upstream.called().len()), (400, 0));
    assert!(alone.body.contains("context_length_exceeded"), "{}", alone.body);
    assert!(alone.served.is_none());
    let listed = routes().fall_back(List::ContextWindow, "g", ["h"]);
    let got = call(&around(&layer(listed), &upstream), request("g", false)).await;
    assert_eq!((got.status, upstream.called()), (200, vec!["h".to_owned()]));
    let served = got.served.expect("was asked");
    assert_eq!((served.attempts, served.retries, served.fallbacks), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn tags_choose_among_deployments() {
    let tagged = || {
        let deployments = [("a", "free"), ("b", "paid")].map(|(id, tag)| deployment(id).tags([tag]));
        let group = ziggurat_route::Group::new("g").deployments(deployments).tags(TagRules::Any);
        Routes::builder().group(group.build().expect("is a group"))
    };
    for (tags, status, expected) in
        [(&["paid"][..], 200, Some("b")), (&["free"], 200, Some("a")), (&["other"], 403, None)]
    {
        let upstream = upstream(&[("a", ok("1")), ("b", ok("2"))]);
        let mut principal = Principal::default();
        principal.tags = tags.iter().map(|tag| Arc::from(*tag)).collect();
        let mut request = request("g", false);
        request.extensions_mut().insert(principal);
        let got = call(&around(&layer(tagged()), &upstream), request).await;
        assert_eq!(got.status, status, "{}", got.body);
        assert_eq!(upstream.called(), Vec::from_iter(expected.map(str::to_owned)));
    }
}

#[tokio::test(start_paused = true)]
async fn tags_that_a_call_names_open_nothing_that_those_of_its_caller_exclude() {
    for (own, named, status, expected) in [
        (&["free"][..], "paid", 403, None),
        (&["free"], "!free", 403, None),
        (&["free"], "!paid", 200, Some("a")),
        (&[], "paid", 200, Some("b")),
        (&[], "!free", 200, Some("b")),
    ] {
        let upstream = upstream(&[("a", ok("1")), ("b", ok("2"))]);
        let deployments = [("a", "free"), ("b", "paid")].map(|(id, tag)| deployment(id).tags([tag]));
        let group = ziggurat_route::Group::new("g").deployments(deployments).tags(TagRules::Any);
        let routes = Routes::builder().group(group.build().expect("is a group"));
        let mut principal = Principal::default();
        principal.tags = own.iter().map(|tag| Arc::from(*tag)).collect();
        let mut request = request("g", false).map(|_| {
            let messages = r#"[{"role":"user","content":"Hi"}]"#;
            let body = format!(r#"{{"model":"g","metadata":{{"tags":["{named}"]}},"messages":{messages}}}"#);
            Body::from(body)
        });
        request.extensions_mut().insert(principal);
        let got = call(&around(&layer(routes), &upstream), request).await;
        assert_eq!(got.status, status, "{own:?} {named} {}", got.body);
        assert_eq!(upstream.called(), Vec::from_iter(expected.map(str::to_owned)), "{own:?} {named}");
    }
}

/// The layer, with limits of deployments inside.
fn limited(layer: &RouteLayer, upstream: &Upstream, limited: &'static [&'static str]) -> Service {
    let limits = LimitLayer::per_attempt().targets(move |target| {
        let id = target.deployment();
        let none = limited.contains(&id);
        none.then(|| Limit::requests_per_minute(Scope::new(ziggurat_core::ScopeKind::Deployment, id), 0))
            .into_iter()
            .collect()
    });
    BoxCloneSyncService::new(layer.layer(limits.layer(TranslateLayer::new().layer(upstream.service()))))
}

#[tokio::test(start_paused = true)]
async fn a_deployments_own_limit_means_the_next_and_is_nobodys_failure() {
    let two: fn() -> [GroupBuilder; 1] = || [group("g", &["a", "b"])];
    let one = || [group("g", &["a"]), group("h", &["b"])];
    let routes = |groups: Vec<GroupBuilder>| {
        let add = |routes: RoutesBuilder, group: GroupBuilder| routes.group(group.build().expect("a group"));
        groups.into_iter().fold(Routes::builder(), add)
    };
    let within = layer(routes(two().into()));
    let behind = layer(routes(one().into()).fall_back(List::General, "g", ["h"]));
    for layer in [within, behind] {
        let upstream = upstream(&[("b", ok("1"))]);
        let listener = Listener::default();
        let service = heard(&limited(&layer, &upstream, &["a"]), &listener);
        let got = call(&service, request("g", false)).await;
        assert_eq!((got.status, upstream.called()), (200, vec!["b".to_owned()]), "{}", got.body);
        assert_eq!(listener.attempts(), [("b".to_owned(), Outcome::Complete)]);
        assert_eq!(got.served.expect("was asked").attempts, 1);
        let figures = layer.routes().groups()[0].deployments()[0].figures(Instant::now());
        assert_eq!((figures.state, figures.failures, figures.in_flight), (State::Healthy, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn where_all_are_over_their_limits_the_caller_is_told_when_to_come_back() {
    let upstream = upstream(&[]);
    let listener = Listener::default();
    let layer = layer(Routes::builder().group(group("g", &["a", "b"]).build().expect("is a group")));
    let service = heard(&limited(&layer, &upstream, &["a", "b"]), &listener);
    let got = call(&service, request("g", false)).await;
    assert_eq!((got.status, upstream.called().len()), (429, 0), "{}", got.body);
    assert_eq!((got.served.is_none(), listener.attempts()), (true, vec![]));
}

#[tokio::test(start_paused = true)]
async fn where_all_cool_down_the_least_bad_is_asked_and_that_is_said() {
    for others in [&[][..], &["h"]] {
        let upstream = upstream(&[("g", fails(500)), ("h", fails(500))]);
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&events);
        let layer = layer(routes(&["g", "h"]).fall_back(List::General, "g", others.iter().copied()))
            .report(move |event| told.lock().expect("is sound").push(format!("{event:?}")));
        let service = around(&layer, &upstream);
        for _ in 0..5 {
            call(&service, request("g", false)).await;
        }
        events.lock().expect("is sound").clear();
        // The last of the list.
        let last = *others.last().unwrap_or(&"g");
        upstream.does(last, [ok("Back")]);
        let before = upstream.called().len();
        let got = call(&service, request("g", false)).await;
        assert_eq!((got.status, &upstream.called()[before..]), (200, &[last.to_owned()][..]), "{}", got.body);
        let said = events.lock().expect("is sound").join("\n");
        assert!(said.contains(&format!("LastResort {{ group: {last:?}, deployment: {last:?} }}")), "{said}");
        // What answers is well again.
        let group = layer.routes().groups().iter().find(|group| group.name() == last).expect("is there");
        assert_eq!(group.deployments()[0].figures(Instant::now()).state, State::Healthy);
    }
}

#[tokio::test(start_paused = true)]
async fn the_least_bad_is_asked_where_nobody_may_be_asked_in_its_place() {
    let upstream = upstream(&[("g", fails(500))]);
    let layer = layer(routes(&["g", "h"]).fall_back(List::General, "g", ["h"]));
    let service = limited(&layer, &upstream, &["h"]);
    for _ in 0..5 {
        assert_eq!(call(&service, request("g", false)).await.status, 500);
    }
    upstream.does("g", [ok("Back")]);
    assert_eq!(call(&service, request("g", false)).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn what_happens_is_reported_also_of_an_answer_that_breaks_off() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&events);
    let layer = layer(routes(&["g", "h"]).fall_back(List::General, "g", ["h"]));
    let layer = layer.report(move |event| {
        told.lock().expect("is sound").push(match event {
            Event::Failed { deployment, cause, .. } => format!("{deployment} failed: {cause:?}"),
            Event::FellBack { from, to, .. } => format!("{from} to {to}"),
            other => format!("{other:?}"),
        });
    });
    let upstream = upstream(&[("g", fails(401)), ("h", Act::Breaks(vec![role(), says("Hel")]))]);
    let got = call(&around(&layer, &upstream), request("g", true)).await;
    assert_eq!(got.status, 200);
    let expected = [
        format!("g failed: {:?}", Cause::InvalidKey),
        "g to h".to_owned(),
        format!("h failed: {:?}", Cause::Upstream),
    ];
    assert_eq!(*events.lock().expect("is sound"), expected);
}
