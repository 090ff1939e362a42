//! What must not be shown: secrets. That the log has none is looked at where it is whole, with the built binary.

use super::*;

#[tokio::test]
async fn a_key_is_in_the_answer_that_makes_it_and_in_no_other() {
    let bench = Bench::new().await;
    bench.done("/team/new", json!({"team_id": "t"})).await;
    let (secret, token) = bench.key(json!({"team_id": "t", "user_id": "u", "key_alias": "a"})).await;
    bench.done("/user/new", json!({"user_id": "u", "auto_create_key": false})).await;
    let mut answers = vec![bench.everything().await];
    for path in [
        format!("/key/info?key={secret}"),
        "/key/list?return_full_object=true".to_owned(),
        "/key/list".to_owned(),
        "/team/info?team_id=t".to_owned(),
        "/user/info?user_id=u".to_owned(),
    ] {
        let answer = bench.got(&path).await;
        assert!(answer.to_string().contains(&token), "{path}");
        answers.push(answer);
    }
    for (path, body) in [
        ("/key/update", json!({"key": secret, "rpm_limit": 1})),
        ("/key/block", json!({"key": secret})),
        ("/key/unblock", json!({"key": secret})),
        ("/key/generate", json!({"key": secret})),
        ("/key/delete", json!({"keys": [secret, "sk-of-nobody-at-all"]})),
        ("/key/delete", json!({"keys": [secret]})),
        ("/key/block", json!({"key": secret})),
    ] {
        answers.push(bench.post(path, body).await.1);
    }
    for answer in answers {
        assert!(!answer.to_string().contains(&secret[..secret.len() - 5]), "{answer}");
        assert!(!answer.to_string().contains("of-nobody"), "{answer}");
    }
}
