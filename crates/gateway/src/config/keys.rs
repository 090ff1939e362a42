//! Every key that LiteLLM's configuration is known to have, and what this gateway does with it.
//!
//! Names are LiteLLM's, from its documentation and its settings types, but for `ziggurat_settings`. `*` stands for any text.

/// What happens to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// It is read.
    Read,
    /// It is a parameter of the request to the provider, and is kept for it.
    Pass,
    /// Not supported yet: a warning, unless the value asks for what happens anyway.
    Ignore,
    /// Not supported yet, and running without it would be less safe than the file says: an error, unless it is off.
    Refuse,
    /// A list of callbacks: ignored where they only log, refused where they may guard.
    Callbacks,
}

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A string.
    Text,
    /// A string or a number.
    Name,
    /// A boolean.
    Flag,
    /// A number.
    Number,
    /// A list of strings.
    Texts,
    /// A list.
    List,
    /// A mapping.
    Map,
    /// Anything.
    Any,
}

/// What happens to keys that stand in no group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// An error: most likely a typing error.
    Refuse,
    /// A warning, as LiteLLM forwards them to the provider.
    Forward,
    /// An error if it is nearly a known key, else a warning, as people keep notes there.
    Note,
    /// Names that the user chose.
    Accept,
}

/// Keys that are treated alike.
#[derive(Debug)]
pub(super) struct Group {
    /// What happens to them.
    pub(super) policy: Policy,
    /// What their values must be.
    pub(super) kind: Kind,
    /// Their names, separated by white space.
    pub(super) names: &'static str,
}

/// A mapping of the file.
#[derive(Debug)]
pub(super) struct Section {
    /// The known keys.
    pub(super) groups: &'static [Group],
    /// What happens to others.
    pub(super) unknown: Unknown,
}

// ===== impl Section =====

impl Section {
    /// All known names and patterns with their group.
    pub(super) fn names(&self) -> impl Iterator<Item = (&'static str, &'static Group)> {
        self.groups.iter().flat_map(|group| group.names.split_whitespace().map(move |name| (name, group)))
    }
}

pub(super) const fn group(policy: Policy, kind: Kind, names: &'static str) -> Group {
    Group { policy, kind, names }
}

use Kind::{Any, Flag, List, Map, Name, Number, Text, Texts};
use Policy::{Callbacks, Ignore, Pass, Read, Refuse};

/// Values that ask for what this gateway does anyway, where that is not `false`, empty or nothing.
pub(super) const ALREADY_SO: &[(&str, &str)] = &[
    ("num_retries_per_request", "0"),
    ("max_retries", "0"),
    ("ssl_verify", "true"),
    ("user_url_validation", "true"),
    ("turn_off_message_logging", "true"),
    ("redact_messages_in_exceptions", "true"),
    ("redact_user_api_key_info", "true"),
    ("disable_spend_logs", "true"),
    ("disable_spend_updates", "true"),
    ("cancel_on_disconnect", "true"),
    ("fail_closed_budget_enforcement", "true"),
    ("fail_closed_rate_limit_enforcement", "true"),
    ("token_rate_limit_type", "total"),
    ("mode", "chat"),
    ("mode", "embedding"),
    ("mode", "rerank"),
];

/// Callbacks that only record what happened.
pub(super) const LOGGERS: &str = "
    lago openmeter logfire literalai langsmith prometheus prometheus_system otel datadog datadog_llm_observability
    datadog_cost_management galileo braintrust arize arize_phoenix langtrace gcs_bucket gcs_pubsub azure_storage
    azure_sentinel opik argilla mlflow langfuse langfuse_otel weave_otel pagerduty humanloop agentops generic_api
    resend_email sendgrid_email smtp_email deepeval s3 s3_v2 aws_sqs sqs cloudzero focus mavvrik vantage posthog levo
    newrelic sentry slack helicone lunary athena athina traceloop wandb promptlayer supabase dynamodb greenscale logdna
    openai_logs";

/// The file as a whole.
pub(super) const ROOT: Section = Section {
    unknown: Unknown::Refuse,
    groups: &[
        group(Read, List, "model_list"),
        group(
            Read,
            Map,
            "litellm_settings general_settings router_settings environment_variables ziggurat_settings",
        ),
        group(Read, Any, "include"),
        group(
            Ignore,
            Any,
            "callback_settings credential_list prompts mcp_servers mcp_tools vector_store_registry files_settings
             finetune_settings search_tools agent_list agents assistant_settings worker_registry sandbox_tools skills",
        ),
        group(Refuse, Any, "guardrails policies policy_attachments"),
    ],
};

/// `model_list[]`.
pub(super) const DEPLOYMENT: Section = Section {
    unknown: Unknown::Refuse,
    groups: &[group(Read, Text, "model_name"), group(Read, Map, "litellm_params model_info")],
};

/// `model_list[].litellm_params`.
pub(super) const LITELLM_PARAMS: Section = Section {
    unknown: Unknown::Forward,
    groups: &[
        group(
            Read,
            Text,
            "model api_key api_base base_url api_version azure_ad_token azure_scope tenant_id client_id client_secret
             custom_llm_provider organization",
        ),
        group(Read, Flag, "drop_params use_chat_completions_api"),
        group(
            Read,
            Number,
            "timeout stream_timeout rpm tpm itpm otpm max_parallel_requests weight order num_retries max_retries
             cooldown_time allowed_fails",
        ),
        group(Read, Text, "base_model budget_duration"),
        // An amount of money is held against more than being a number, where it is read.
        group(Read, Any, "max_budget"),
        group(
            Read,
            Text,
            "aws_access_key_id aws_secret_access_key aws_session_token aws_region_name aws_profile_name
             aws_role_name aws_session_name aws_external_id aws_web_identity_token aws_sts_endpoint
             aws_bedrock_runtime_endpoint vertex_project vertex_location",
        ),
        group(Read, Any, "vertex_credentials vertex_ai_credentials"),
        // Prices that cannot be counted are refused where they are read.
        group(Read, Any, "*_cost_per_* *_token_cost*"),
        group(Read, Texts, "additional_drop_params allowed_openai_params tags"),
        group(Read, Map, "headers extra_headers extra_body allowed_fails_policy"),
        group(
            Pass,
            Any,
            "temperature top_p top_k min_p n stop max_tokens max_completion_tokens presence_penalty frequency_penalty
             repetition_penalty logit_bias logprobs top_logprobs user seed response_format tools tool_choice functions
             function_call parallel_tool_calls stream stream_options service_tier reasoning_effort reasoning thinking
             verbosity modalities audio prediction store metadata web_search_options safety_identifier
             prompt_cache_key prompt_cache_retention dimensions encoding_format input_type task_type title truncate
             truncation auto_truncate normalize top_n return_documents rank_fields max_tokens_per_doc
             max_chunks_per_doc",
        ),
        group(Ignore, Number, "keepalive_seconds max_file_size_mb"),
        group(
            Ignore,
            Any,
            "tag_regex region_name timeout_by_service_tier configurable_clientside_auth_params
             allow_client_keepalive_override use_in_pass_through use_litellm_proxy
             use_xai_oauth merge_reasoning_content_in_choices cache_control_injection_points model_info
             provider_affinity_header litellm_trace_id *cost_per_* *_cost hf_model_name
             input_cost output_cost initial_prompt_value roles final_prompt_value bos_token eos_token
             custom_prompt_dict prompt_id prompt_variables caching cache fallbacks context_window_fallbacks
             content_policy_fallbacks litellm_metadata ssl_verify ssl_certificate stream_chunk_size
             azure_username azure_password
             aws_* vertex_* s3_* gcs_bucket_name bucket_name bedrock_tags watsonx_region_name gcp_* sagemaker_*
             auto_router_* complexity_router_* adaptive_router_* quality_router_* vector_store_id vector_bucket_name
             index_name embedding_model milvus_* valkey_*",
        ),
        group(
            Refuse,
            Any,
            "tiered_pricing default_api_key_tpm_limit default_api_key_rpm_limit guardrails
             litellm_credential_name mock_response mock_tool_calls mock_timeout mock_delay",
        ),
    ],
};

/// `model_list[].model_info`.
pub(super) const MODEL_INFO: Section = Section {
    unknown: Unknown::Note,
    groups: &[
        group(Read, Name, "id"),
        group(Read, Text, "base_model"),
        group(Read, Texts, "access_groups"),
        group(
            Read,
            Number,
            "rpm tpm itpm otpm max_parallel_requests max_tokens max_input_tokens max_output_tokens allowed_fails
             cooldown_time",
        ),
        group(Read, Map, "allowed_fails_policy"),
        group(Read, Flag, "disable_background_health_check"),
        group(
            Read,
            Flag,
            "supports_function_calling supports_parallel_function_calling supports_forced_tool_use supports_vision
             supports_pdf_input supports_audio_input supports_system_messages supports_mid_conversation_system
             supports_assistant_prefill supports_response_schema supports_native_structured_output supports_reasoning
             supports_adaptive_thinking supports_legacy_thinking supports_none_reasoning_effort
             supports_minimal_reasoning_effort supports_xhigh_reasoning_effort supports_max_reasoning_effort",
        ),
        group(Read, Any, "*_cost_per_* *_token_cost*"),
        group(
            Ignore,
            Any,
            "mode supports_* supported_* tier discoverable
             description display_name litellm_provider ptu_* *cost_per_* *_cost db_model created_at
             created_by updated_at updated_by deprecation_date output_vector_size
             health_check_* enable_tag_filtering allow_fail_open internal_router_model member_auto_router key source version",
        ),
        group(
            Refuse,
            Any,
            "access_windows blocked team_id team_public_model_name guardrails tiered_pricing",
        ),
    ],
};

/// `router_settings`.
pub(super) const ROUTER_SETTINGS: Section = Section {
    unknown: Unknown::Refuse,
    groups: &[
        group(
            Read,
            Map,
            "model_group_alias routing_strategy_args retry_policy model_group_retry_policy allowed_fails_policy
             provider_budget_config",
        ),
        group(
            Read,
            Number,
            "default_max_parallel_requests num_retries max_fallbacks allowed_fails cooldown_time timeout
             stream_timeout retry_after",
        ),
        group(Read, Text, "routing_strategy redis_url redis_host redis_password"),
        group(Read, Name, "redis_port redis_db"),
        group(
            Read,
            Flag,
            "redis_ssl disable_cooldowns enable_pre_call_checks enable_tag_filtering tag_filtering_match_any
             enable_weighted_failover",
        ),
        group(Read, List, "fallbacks context_window_fallbacks content_policy_fallbacks"),
        group(Read, Texts, "default_fallbacks optional_pre_call_checks"),
        group(
            Ignore,
            Number,
            "max_retries client_ttl default_priority polling_interval health_check_staleness_threshold
             deployment_affinity_ttl_seconds",
        ),
        group(
            Ignore,
            Flag,
            "set_verbose cache_responses enable_pre_call_check enable_health_check_routing
             health_check_ignore_transient_errors ignore_invalid_deployments",
        ),
        group(
            Ignore,
            Any,
            "routing_groups redis_* cache_kwargs
             caching_groups default_litellm_params debug_level alerting_config assistants_config
             router_general_settings model_group_affinity_config weights
             order_fallback_status_codes search_tools tag_routing_prefix",
        ),
        group(Refuse, Any, "guardrail_list"),
    ],
};

/// `general_settings`.
pub(super) const GENERAL_SETTINGS: Section = Section {
    unknown: Unknown::Refuse,
    groups: &[
        group(Read, Text, "master_key database_url"),
        group(Read, Number, "user_api_key_cache_ttl"),
        group(Read, Number, "max_parallel_requests global_max_parallel_requests budget_exceeded_status_code"),
        group(Read, Flag, "enable_jwt_auth reject_clientside_metadata_tags"),
        group(Read, Map, "litellm_jwtauth"),
        group(
            Ignore,
            Any,
            "completion_model embedding_model image_generation_model moderation_model infer_model_from_keys plugins
             control_plane_url litellm_license otel json_logs ui_access_mode ui_username ui_password proxy_base_url
             database_type database_args database_connection_pool_limit database_connection_timeout
             database_connect_timeout database_socket_timeout database_extra_connection_params
             database_disable_prepared_statements disable_prisma_schema_update allow_requests_on_db_unavailable
             store_model_in_db supported_db_objects store_prompts_in_spend_logs disable_spend_logs
             disable_spend_updates disable_error_logs disable_reset_budget disable_master_key_return
             disable_adding_master_key_hash_to_db disable_retry_on_max_parallel_request_limit_error
             disable_responses_id_security disable_auto_add_proxy_admin_to_teams disable_budget_reservation
             maximum_spend_logs_* maximum_autorouter_session_retention_period
             maximum_health_check_retention_period use_spend_logs_partitioning use_redis_transaction_buffer
             use_shared_health_check coordination_redis proxy_batch_write_at proxy_batch_polling_interval
             proxy_budget_rescheduler_min_time proxy_budget_rescheduler_max_time
             proxy_config_reload_interval_seconds scheduled_job_stagger spend_report_frequency
             user_api_key_cache_max_size background_health_checks
             background_health_check_model_groups health_check_* enable_health_check_routing
             model_list_healthy_only alerting alert_types alert_to_webhook_url alerting_args alerting_threshold
             alert_budget_threshold pass_through_endpoints pass_through_request_timeout
             use_client_credentials_pass_through_routes forward_openai_org_id forward_client_headers_to_llm_api
             forward_llm_provider_auth_headers cancel_on_disconnect max_request_size_mb max_response_size_mb
             max_batch_file_size_mb max_in_flight_requests_per_worker always_include_stream_usage
             user_header_name user_header_mappings public_routes allow_client_side_credentials
             key_management_system key_management_settings use_google_kms use_azure_key_vault custom_key_generate
             custom_key_update custom_sso custom_ui_sso_sign_in_handler oauth2_config_mappings
             service_account_settings default_team_disabled litellm_key_header_name use_x_forwarded_for
             trusted_proxy_ranges mcp_* user_mcp_management_mode enable_public_model_hub allow_user_auth
             token_rate_limit_type fail_closed_budget_enforcement fail_closed_rate_limit_enforcement
             user_url_validation user_url_allowed_hosts
             provider_url_destination_allowed_hosts dangerously_permit_weak_or_unset_master_key
             dangerously_allow_mock_testing_request_params allow_cli_sso_verification_uri_complete
             search_tools managed_files require_managed_files",
        ),
        group(
            Refuse,
            Any,
            "custom_auth custom_auth_run_common_checks custom_auth_settings enable_oauth2_auth enable_oauth2_proxy_auth role_permissions role_mappings allowed_routes
             admin_only_routes allowed_ips enforced_params enforce_user_param enforce_rbac
             enforce_fallback_model_access apply_user_budget_to_team_keys guardrails",
        ),
    ],
};

/// `general_settings.litellm_jwtauth`.
pub(super) const JWT_AUTH: Section = Section {
    unknown: Unknown::Refuse,
    groups: &[
        group(
            Read,
            Text,
            "admin_jwt_scope user_id_jwt_field user_email_jwt_field user_allowed_email_domain user_roles_jwt_field
             team_id_jwt_field team_ids_jwt_field team_id_default org_id_jwt_field end_user_id_jwt_field",
        ),
        group(Read, Texts, "user_allowed_roles"),
        group(Read, Flag, "user_id_upsert team_id_upsert enforce_team_based_model_access"),
        group(Read, Number, "public_key_ttl"),
        group(
            Refuse,
            Any,
            "admin_allowed_routes team_allowed_routes public_allowed_routes team_jwt_scope upsert_sso_user_to_team
             team_alias_jwt_field org_alias_jwt_field enforce_rbac roles_jwt_field role_mappings object_id_jwt_field
             scope_mappings enforce_scope_based_access custom_validate jwt_litellm_role_map sync_user_role_and_teams
             oidc_userinfo_enabled oidc_userinfo_endpoint oidc_userinfo_cache_ttl virtual_key_claim_field
             virtual_key_mapping_cache_ttl unregistered_jwt_client_behavior",
        ),
    ],
};

/// `litellm_settings`: the names that LiteLLM's documentation and module know.
pub(super) const LITELLM_SETTINGS: Section = Section {
    unknown: Unknown::Refuse,
    groups: &[
        group(Read, Flag, "drop_params include_cost_in_streaming_usage"),
        group(
            Read,
            Number,
            "request_timeout budget_exceeded_status_code num_retries max_fallbacks allowed_fails cooldown_time",
        ),
        group(Read, List, "fallbacks context_window_fallbacks content_policy_fallbacks"),
        group(Read, Texts, "default_fallbacks"),
        // An amount of money is held against more than being a number, where it is read.
        group(Read, Any, "max_budget max_end_user_budget"),
        group(Read, Text, "budget_duration timezone max_end_user_budget_id"),
        group(Read, Map, "cost_discount_config cost_margin_config tag_budget_config"),
        group(Callbacks, Any, "callbacks"),
        group(Read, Flag, "cache"),
        group(Read, Map, "cache_params"),
        group(Ignore, Number, "num_retries_per_request"),
        group(
            Ignore,
            Any,
            "success_callback failure_callback input_callback service_callback service_callbacks
             audit_log_callbacks callback_settings cold_storage_custom_logger logged_real_time_event_types
             turn_off_message_logging standard_logging_payload_excluded_fields log_raw_request_response
             redact_messages_in_exceptions redact_user_api_key_info expose_router_debug_in_errors
             filter_invalid_headers add_user_information_to_llm_headers overwrite_user_with_key_hash
             store_audit_logs set_verbose json_logs suppress_debug_info telemetry email token logging
             max_tokens modify_params use_chat_completions_url_for_anthropic_messages strip_anthropic_total_tokens
             route_all_chat_openai_to_responses gemini_live_defer_setup use_legacy_interactions_schema retry
             model_fallbacks
             caching caching_with_models default_in_memory_ttl default_redis_ttl
             default_redis_batch_cache_expiry enable_caching_on_provider_specific_optional_params
             enable_redis_auth_cache api_key openai_key groq_key gigachat_key xai_key databricks_key
             openai_like_key azure_key anthropic_key replicate_key bytez_key cohere_key infinity_key clarifai_key
             maritalk_key ai21_key ollama_key openrouter_key datarobot_key predibase_key huggingface_key
             togetherai_api_key cloudflare_api_key vercel_ai_gateway_key baseten_key llama_api_key novita_api_key
             snowflake_key gradient_ai_api_key nebius_key wandb_key heroku_key cometapi_key ovhcloud_key
             lemonade_key amazon_nova_api_key inception_key vertex_project vertex_location vertex_ai_safety_settings
             ssl_verify ssl_security_level ssl_certificate ssl_ecdh_curve force_ipv4 network_mock
             use_aiohttp_transport aiohttp_trust_env disable_aiohttp_transport disable_aiohttp_trust_env
             user_url_validation user_url_allowed_hosts provider_url_destination_allowed_hosts
             disable_streaming_logging disable_token_counter disable_hf_tokenizer_download
             disable_add_transform_inline_image_block disable_add_user_agent_to_request_tags
             disable_anthropic_gemini_context_caching_transform disable_vertex_batch_output_transformation
             disable_add_prefix_to_prompt disable_copilot_system_to_assistant disable_stop_sequence_limit
             disable_end_user_cost_tracking disable_end_user_cost_tracking_prometheus_only
             enable_end_user_cost_tracking_prometheus_only enable_anthropic_prompt_caching
             anthropic_prompt_caching_ttl enable_azure_ad_token_refresh enable_preview_features
             enable_json_schema_validation enable_key_alias_format_validation
             enable_gemini_default_thinking_level_low enable_loadbalancing_on_batch_endpoints
             enable_model_config_credential_overrides extra_spend_tag_headers safe_memory_mode
             reasoning_auto_summary return_response_headers
             forward_traceparent_to_llm_provider prometheus_* custom_prometheus_metadata_labels
             custom_prometheus_tags require_auth_for_metrics_endpoint langfuse_default_tags langsmith_batch_size
             argilla_batch_size argilla_transformation_object datadog_* newrelic_params gcs_pub_sub_use_v1
             generic_api_use_v1 generic_logger_headers s3_callback_params s3_audit_callback_params
             aws_sqs_callback_params dynamodb_table_name model_alias_map model_group_settings model_cost_map_url
             blog_posts_url anthropic_beta_headers_url custom_prompt_dict custom_provider_map
             add_function_to_prompt check_provider_endpoint credential_list prompt_name_config_map
             default_soft_budget budget_rollover budget_exceeded_throttle_percentage
             default_key_max_budget_alert_emails key_generation_settings
             default_team_settings max_ui_session_budget validate_end_user_id_in_db public_*
             priority_reservation priority_reservation_settings mcp_aliases mcp_* require_managed_files
             allow_dynamic_callback_disabling secret_manager_client global_disable_no_log_param
             global_bitbucket_config global_gitlab_config global_prompt_directory in_memory_llm_clients_cache
             enforce_llm_responses_api_usage_guard search_tools organization project config_path
             global_max_parallel_request_retries LITELLM_DISABLE_STOP_SEQUENCE_LIMIT",
        ),
        group(
            Refuse,
            Any,
            "max_user_budget max_internal_user_budget default_max_internal_user_budget
             internal_user_budget_duration default_internal_user_params default_key_generate_params default_team_params
             upperbound_key_generate_params
             guardrails guardrail_name_config_map
             blocked_user_list banned_keywords_list llamaguard_model_name llamaguard_unsafe_content_categories
             openai_moderations_model_name google_moderation_confidence_threshold presidio_ad_hoc_recognizers
             llm_guard_mode output_parse_pii prompt_injection_params pre_call_rules post_call_rules
             block_requests_for_models_without_pricing api_base headers use_litellm_proxy",
        ),
    ],
};

/// `ziggurat_settings`: this gateway's own, not LiteLLM's.
pub(super) const ZIGGURAT_SETTINGS: Section = Section {
    unknown: Unknown::Refuse,
    groups: &[
        group(
            Read,
            Text,
            "ledger price_map uncapped uncapped_streams unpriced on_disconnect token_counter redis
             on_limits_away on_budgets_away",
        ),
        group(
            Read,
            Number,
            "rpm tpm itpm otpm hold_ttl admin_port store_deadline stream_hold first_token_timeout idle_timeout
             total_timeout",
        ),
        group(Read, Flag, "continue_streams"),
        group(Read, List, "shadow alert_percents"),
        group(Read, Map, "retry_budget probes media cache"),
        group(Read, Any, "hedge_after"),
    ],
};

/// An entry of `litellm_settings.cost_margin_config` in its long form.
pub(super) const MARGIN: Section =
    Section { unknown: Unknown::Refuse, groups: &[group(Read, Any, "percentage fixed_amount")] };

/// An entry of `litellm_settings.tag_budget_config`.
pub(super) const TAG_BUDGET: Section = Section {
    unknown: Unknown::Refuse,
    groups: &[
        group(Read, Any, "max_budget soft_budget"),
        group(Read, Text, "budget_duration"),
        group(Read, Number, "rpm_limit tpm_limit max_parallel_requests"),
    ],
};

/// An entry of `router_settings.provider_budget_config`; LiteLLM has two names for either key.
pub(super) const PROVIDER_BUDGET: Section = Section {
    unknown: Unknown::Refuse,
    groups: &[
        group(Read, Any, "budget_limit max_budget"),
        group(Read, Text, "time_period budget_duration"),
        group(Refuse, Any, "tpm_limit rpm_limit"),
    ],
};

/// An entry of `router_settings.model_group_alias` in its long form.
pub(super) const ALIAS: Section =
    Section { unknown: Unknown::Refuse, groups: &[group(Read, Text, "model"), group(Read, Flag, "hidden")] };

/// `environment_variables` and other mappings whose keys the user chooses.
pub(super) const OPEN: Section = Section { unknown: Unknown::Accept, groups: &[] };
