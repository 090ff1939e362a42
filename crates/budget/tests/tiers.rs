//! What the service tier has to do with what a call is charged.

mod support;

use tower::{Layer, ServiceExt};
use ziggurat_budget::{BudgetLayer, Ledger};
use ziggurat_catalog::{Catalog, Model, Prices, ServiceTier, Unit};
use ziggurat_core::{Budget, Usd, Window};

use crate::support::*;

/// `m` has these prices for a thousand tokens of output, in cents: 4 at the usual tier, 2 at flex, 8 at priority.
fn prices() -> Prices {
    let rate = |text: &str| text.parse().expect("is a price");
    Prices::new()
        .with(Unit::Input, rate("0"))
        .with(Unit::Output, rate("0.00004"))
        .with_variant(Unit::Output, 0, ServiceTier::Flex, rate("0.00002"))
        .with_variant(Unit::Output, 0, ServiceTier::Priority, rate("0.00008"))
}

/// In cents, what is set aside for a call that asks for this tier, and what it is charged when the answer has these members.
async fn call(prices: Prices, asked: &str, stream: bool, members: &str) -> (u64, u64) {
    let budget = Budget::new(tenant(), Usd::dollars(1), Window::Lifetime);
    let ledger = Ledger::in_memory();
    let catalog = Catalog::empty().with(Model::new("m", "openai").prices(prices));
    let layer = BudgetLayer::new(ledger.clone(), catalog).budget(budget.clone());
    let members = format!("{}{members}", used(1, 1000));
    let service = layer.layer(upstream(move |_| match stream {
        false => answer(&members),
        true => events(format!(
            "data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"Hi\"}},\"finish_reason\":\"stop\"}}]{members}}}\n\ndata: [DONE]\n\n"
        )),
    }));
    let asked = if asked.is_empty() { String::new() } else { format!(r#","service_tier":"{asked}""#) };
    let request = chat(&format!(r#","max_tokens":1000,"stream":{stream}{asked}"#));
    let response = service.oneshot(request).await.expect("answers");
    assert_eq!(response.status(), 200);
    let held = spent(&ledger, &budget).1;
    drop(text(response).await);
    let (charged, left) = spent(&ledger, &budget);
    assert_eq!(left, Usd::ZERO);
    let cents = |amount: Usd| u64::try_from(amount.as_pico() / Usd::cents(1).as_pico()).expect("is little");
    (cents(held), cents(charged))
}

#[tokio::test]
async fn what_is_charged_goes_by_the_tier_that_was_served() {
    for (asked, served, held, charged) in [
        ("flex", "flex", 4, 2),
        ("flex", "default", 4, 4),
        ("flex", "standard", 4, 4),
        ("flex", "priority", 4, 8),
        ("priority", "priority", 8, 8),
        ("priority", "default", 8, 4),
        ("priority", "flex", 8, 2),
        // The provider's own setting decides.
        ("", "flex", 4, 2),
        ("auto", "priority", 4, 8),
        // Nobody has a price for these: as if none was named.
        ("", "batch", 4, 4),
        ("flex", "unheard", 4, 4),
        ("priority", "unheard", 8, 8),
        ("priority", "ultrafast", 8, 8),
        ("priority", "auto", 8, 8),
    ] {
        for stream in [false, true] {
            let members = format!(r#","service_tier":"{served}""#);
            let told = call(prices(), asked, stream, &members).await;
            assert_eq!(told, (held, charged), "{asked:?}, {served:?}, {stream}");
        }
    }
}

#[tokio::test]
async fn where_no_tier_is_named_the_dearer_of_the_usual_and_the_asked_is_charged() {
    for members in ["", r#","service_tier":null"#] {
        for (asked, cents) in [("", 4), ("flex", 4), ("priority", 8)] {
            for stream in [false, true] {
                assert_eq!(call(prices(), asked, stream, members).await, (cents, cents), "{asked:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_set_aside_is_enough_for_the_usual_tier_too() {
    // Priority that is cheaper than usual: a mistake of a price list.
    let odd =
        prices().with_variant(Unit::Output, 0, ServiceTier::Priority, "0.00001".parse().expect("is one"));
    let default = r#","service_tier":"default""#;
    assert_eq!(call(odd.clone(), "priority", false, default).await, (4, 4));
    assert_eq!(call(odd, "priority", false, r#","service_tier":"priority""#).await, (4, 1));
}
