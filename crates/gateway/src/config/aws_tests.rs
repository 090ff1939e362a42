//! Who signs the calls of a deployment on AWS, and what is said where that cannot be known.

use super::tests::print;
use super::*;

const HEAD: &str = "model_list:\n  - model_name: a\n    litellm_params:\n      model: bedrock/m\n";
const AT: &str = "model_list[0].litellm_params";

/// The keys of one deployment, or what is said.
fn keys(params: &str, env: &[(&str, &str)]) -> Result<Keys, String> {
    let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    match Config::parse(&format!("{HEAD}{params}"), "config.yaml", &env) {
        Ok((config, _)) => Ok(config.deployments.into_iter().next().unwrap().aws.unwrap().keys),
        Err(found) => Err(print(&found)),
    }
}

fn given(id: &str) -> Keys {
    Keys::Given { id: id.to_owned(), secret: Secret::new("s"), token: None }
}

const ENV: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "env"), ("AWS_SECRET_ACCESS_KEY", "s")];
const OWN: &str = "      aws_access_key_id: own\n      aws_secret_access_key: s\n";

#[test]
fn a_role_is_assumed_by_whoever_else_would_sign() {
    let by = |params: &str, env: &[(&str, &str)]| {
        let role = format!("      aws_role_name: arn:aws:iam::1:role/r\n{params}");
        let Ok(Keys::Role(role)) = keys(&role, env) else { panic!("{:?}", keys(&role, env)) };
        assert_eq!(role.role.arn(), "arn:aws:iam::1:role/r");
        role.by
    };
    assert_eq!(by(OWN, &ENV), AssumedBy::Keys(given("own")));
    assert_eq!(by("", &ENV), AssumedBy::Keys(given("env")));
    assert_eq!(by("", &[]), AssumedBy::Keys(Keys::Profile(None)));
    let profile = || AssumedBy::Keys(Keys::Profile(Some("p".to_owned())));
    assert_eq!(
        (by("      aws_profile_name: p\n", &ENV), by("", &[("AWS_PROFILE", "p")])),
        (profile(), profile())
    );
    let token = by("      aws_web_identity_token: eyJ.a.b\n", &ENV);
    assert_eq!(token, AssumedBy::Token(Assertion::Text("eyJ.a.b".to_owned())));
    assert!(!format!("{token:?}").contains("eyJ"));
}

#[test]
fn what_is_wrong_with_a_role_is_said_with_its_place() {
    let error = |place: &str, why: &str| Err(format!("config.yaml:{place}: {why}\n"));
    let said = |line: &str, why: &str| error(line, &format!("error: {AT}.{why}"));
    let role = "      aws_role_name: arn:aws:iam::1:role/r\n";
    assert_eq!(
        keys("      aws_role_name: r\n", &ENV),
        said("5:22", "aws_role_name: must be the ARN of a role")
    );
    assert_eq!(
        keys(&format!("{role}      aws_session_name: 'a b'\n"), &ENV),
        said("6:25", "aws_session_name: the name of a session is 2 to 64 letters, digits and `_+=,.@-`")
    );
    assert_eq!(
        keys(&format!("{role}      aws_sts_endpoint: http://sts.test\n"), &ENV),
        said("6:25", "aws_sts_endpoint: the address of the security token service must begin with https://")
    );
    assert_eq!(
        keys(&format!("{role}      aws_web_identity_token: /canary/none\n"), &ENV),
        said("6:31", "aws_web_identity_token: names a file of a token that cannot be read: entity not found")
    );
    for key in ["aws_web_identity_token", "aws_external_id"] {
        let line = format!("      {key}: x\n");
        let place = format!("5:{}", 9 + key.len());
        assert_eq!(
            keys(&line, &ENV),
            said(&place, &format!("{key}: is for a role: missing key `aws_role_name`"))
        );
    }
    assert_eq!(
        keys(&format!("{role}      aws_access_key_id: x\n"), &[]),
        error("4:7", &format!("error: {AT}: missing key `aws_secret_access_key`"))
    );
    let web = [("AWS_ROLE_ARN", "arn:x"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/canary/none")];
    assert_eq!(
        keys("", &web),
        error(
            "4:7",
            &format!(
                "error: {AT}: environment variable `AWS_WEB_IDENTITY_TOKEN_FILE`: names a file of a token that cannot be read: entity not found"
            )
        )
    );
}

#[test]
fn profiles_that_name_roles_lead_to_keys_or_are_refused() {
    let path = std::env::temp_dir().join(format!("ziggurat-aws-{}", std::process::id()));
    let role = |name: &str, more: &str| format!("[profile {name}]\nrole_arn = arn:{name}\n{more}\n");
    let text = [
        role("two", "source_profile = one"),
        role("one", "credential_source = Ec2InstanceMetadata"),
        role("own", "source_profile = own"),
        role("env", "credential_source = Environment"),
        role("a", "source_profile = b"),
        role("b", "source_profile = a"),
        role("bare", ""),
    ];
    std::fs::write(&path, text.concat()).unwrap();
    let read = |name: &str, more: &[(&str, &str)]| {
        let env = [&[("AWS_CONFIG_FILE", path.to_str().unwrap())], more].concat();
        keys(&format!("      aws_profile_name: {name}\n"), &env)
    };
    let assumed = |keys: Result<Keys, String>| match keys {
        Ok(Keys::Role(role)) => (role.role.arn().to_owned(), role.by),
        keys => panic!("{keys:?}"),
    };
    let (arn, by) = assumed(read("two", &[]));
    let AssumedBy::Keys(one) = by else { panic!("{by:?}") };
    assert_eq!(
        (arn.as_str(), assumed(Ok(one))),
        ("arn:two", ("arn:one".to_owned(), AssumedBy::Keys(Keys::Instance)))
    );
    let own = AssumedBy::Keys(Keys::Profile(Some("own".to_owned())));
    assert_eq!(assumed(read("own", &[])), ("arn:own".to_owned(), own));
    assert_eq!(assumed(read("env", &ENV)), ("arn:env".to_owned(), AssumedBy::Keys(given("env"))));
    assert_eq!(read("none", &[]), Ok(Keys::Profile(Some("none".to_owned()))));
    let said = |why: &str| Err(format!("config.yaml:5:25: error: {AT}.aws_profile_name: {why}\n"));
    assert_eq!(read("a", &[]), said(r#"the source_profile of "b" leads in a circle"#));
    assert_eq!(
        read("env", &[]),
        said(r#"the profile "env" takes its keys from the environment, which has none"#)
    );
    assert_eq!(
        read("bare", &[]),
        said(
            r#"the profile "bare" has a role_arn, and no source_profile, credential_source or web_identity_token_file"#
        )
    );
    std::fs::remove_file(&path).unwrap();
}
