//! `/customer/...`, which is `/end_user/...` too.

use serde::Serialize;
use ziggurat_sql::directory::{Customer, Page};

use super::{
    Answer, Changed, Context, allowance::AllowanceFields, errors::Refusal, fields::Fields, given::Given,
    json, query::Query, shapes::CustomerShape,
};

/// What a request says of an end user.
struct CustomerFields {
    alias: Given<String>,
    budget: Given<String>,
    allowance: AllowanceFields,
    blocked: Given<bool>,
}

#[derive(Serialize)]
struct Blocked {
    blocked_users: Vec<CustomerShape>,
}

#[derive(Serialize)]
struct Deleted {
    deleted_customers: usize,
    message: String,
}

impl Context<'_> {
    pub(super) async fn new_customer(&self, mut fields: Fields) -> Answer {
        let mut customer = Customer::new(fields.required("user_id")?);
        let stated = CustomerFields::read(&mut fields)?;
        fields.finish()?;
        stated.put(&mut customer);
        let changed = Changed::Customer(customer.id.clone());
        let customer = self.settle(&changed, self.directory.insert_customer(customer).await)?;
        json(&self.show_customer(customer).await?)
    }

    pub(super) async fn update_customer(&self, mut fields: Fields) -> Answer {
        let id = fields.required("user_id")?;
        let stated = CustomerFields::read(&mut fields)?;
        fields.finish()?;
        let change = |customer: &mut Customer| {
            stated.put(customer);
            Ok(())
        };
        let changed = Changed::Customer(id.clone());
        let customer = self.settle(&changed, self.directory.update_customer(&id, change).await)?;
        json(&self.show_customer(customer).await?)
    }

    /// Blocks end users, those too whom nobody knows yet.
    pub(super) async fn block_customers(&self, mut fields: Fields) -> Answer {
        let ids = fields.ids("user_ids")?;
        fields.finish()?;
        // As the directory would, but before the first of them is blocked.
        let cannot_be = |id: &&String| id.is_empty() || id.len() > 256 || id.chars().any(char::is_control);
        if ids.iter().any(|id| cannot_be(&id)) {
            let why = "an id has 1 to 256 bytes, and no control characters";
            return Err(Refusal::invalid("user_ids", why));
        }
        let mut blocked_users = Vec::with_capacity(ids.len());
        for id in ids {
            let changed = Changed::Customer(id.clone());
            let customer = match self.known(self.directory.get_customer(&id).await)? {
                Some(_) => self.directory.set_customer_blocked(&id, true).await,
                None => {
                    let mut customer = Customer::new(&*id);
                    customer.blocked = true;
                    self.directory.insert_customer(customer).await
                }
            };
            let done = blocked_users.len();
            let customer = self.settle(&changed, customer);
            let customer =
                customer.map_err(|refusal| refusal.and_so(&format!("the first {done} are blocked")))?;
            blocked_users.push(self.show_customer(customer).await?);
        }
        json(&Blocked { blocked_users })
    }

    pub(super) async fn unblock_customers(&self, mut fields: Fields) -> Answer {
        let ids = fields.ids("user_ids")?;
        fields.finish()?;
        self.are_customers(&ids, "unblocked").await?;
        let mut blocked_users = Vec::with_capacity(ids.len());
        for id in ids {
            let done = self.directory.set_customer_blocked(&id, false).await;
            let customer = self.settle(&Changed::Customer(id), done)?;
            blocked_users.push(self.show_customer(customer).await?);
        }
        json(&Blocked { blocked_users })
    }

    pub(super) async fn delete_customers(&self, mut fields: Fields) -> Answer {
        let ids = fields.ids("user_ids")?;
        fields.finish()?;
        self.are_customers(&ids, "deleted").await?;
        self.delete_all(&ids).await?;
        let message = format!("Successfully deleted customers with ids: {}", ids.join(", "));
        json(&Deleted { deleted_customers: ids.len(), message })
    }

    pub(super) async fn customer_info(&self, mut query: Query) -> Answer {
        let id = query.required("end_user_id")?;
        query.finish()?;
        let customer = self.directory.get_customer(&id).await.map_err(|error| self.refuse(error))?;
        json(&self.show_customer(customer).await?)
    }

    pub(super) async fn list_customers(&self, query: Query) -> Answer {
        query.finish()?;
        let mut shown = Vec::new();
        loop {
            let page = Page::new(shown.len() as u64, AT_ONCE);
            let listed = self.directory.list_customers(page).await.map_err(|error| self.refuse(error))?;
            let is_last = listed.items.len() < AT_ONCE as usize;
            for customer in listed.items {
                shown.push(self.show_customer(customer).await?);
            }
            if is_last {
                return json(&shown);
            }
        }
    }

    async fn are_customers(&self, ids: &[String], done: &str) -> Result<(), Refusal> {
        let mut unknown = Vec::new();
        for (at, id) in ids.iter().enumerate() {
            if self.known(self.directory.get_customer(id).await)?.is_none() {
                unknown.push(format!("user_ids[{at}]"));
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let message = format!("no such customer, and so none is {done}: {}", unknown.join(", "));
        Err(Refusal::not_found("user_ids", message))
    }
}

// ===== impl CustomerFields =====

impl CustomerFields {
    fn read(from: &mut Fields) -> Result<Self, Refusal> {
        Ok(Self {
            alias: from.text("alias")?,
            budget: from.text("budget_id")?,
            allowance: AllowanceFields::read(from)?,
            blocked: from.flag("blocked")?,
        })
    }

    fn put(self, customer: &mut Customer) {
        self.alias.put(&mut customer.alias);
        self.budget.put(&mut customer.budget);
        self.allowance.put(&mut customer.allowance);
        self.blocked.put_in(&mut customer.blocked);
    }
}

/// How many are read at a time.
const AT_ONCE: u32 = 1_000;
