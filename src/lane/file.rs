//! `revocations.jsonl`: requests durable before they are acknowledged; its own lock and chain.
