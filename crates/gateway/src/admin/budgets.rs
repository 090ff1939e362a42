//! `/budget/...`: templates of budgets.

use ziggurat_sql::directory::{BudgetTemplate, Page};

use super::{
    Answer, Changed, Context, allowance::AllowanceFields, fields::Fields, json, new_id, query::Query,
    shapes::BudgetShape,
};

impl Context<'_> {
    pub(super) async fn new_budget(&self, mut fields: Fields) -> Answer {
        let id = match fields.text("budget_id")?.value() {
            Some(id) => id,
            None => new_id().map_err(|error| self.refuse(error))?,
        };
        let stated = AllowanceFields::read(&mut fields)?;
        fields.finish()?;
        let mut budget = BudgetTemplate::new(id);
        stated.put(&mut budget.allowance);
        let budget = self.settle(&Changed::All, self.directory.insert_budget(budget).await)?;
        json(&BudgetShape::of(budget))
    }

    pub(super) async fn update_budget(&self, mut fields: Fields) -> Answer {
        let id = fields.required("budget_id")?;
        let stated = AllowanceFields::read(&mut fields)?;
        fields.finish()?;
        let change = |budget: &mut BudgetTemplate| {
            stated.put(&mut budget.allowance);
            Ok(())
        };
        let budget = self.settle(&Changed::All, self.directory.update_budget(&id, change).await)?;
        json(&BudgetShape::of(budget))
    }

    /// Those of a list that there are.
    pub(super) async fn budgets_info(&self, mut fields: Fields) -> Answer {
        let ids = fields.ids("budgets")?;
        fields.finish()?;
        let mut shown = Vec::with_capacity(ids.len());
        for id in ids {
            shown.extend(self.known(self.directory.get_budget(&id).await)?.map(BudgetShape::of));
        }
        json(&shown)
    }

    pub(super) async fn delete_budget(&self, mut fields: Fields) -> Answer {
        let id = fields.required("id")?;
        fields.finish()?;
        let budget = self.directory.get_budget(&id).await.map_err(|error| self.refuse(error))?;
        self.delete_all(&[id]).await?;
        json(&BudgetShape::of(budget))
    }

    pub(super) async fn list_budgets(&self, query: Query) -> Answer {
        query.finish()?;
        let mut shown = Vec::new();
        loop {
            let page = Page::new(shown.len() as u64, AT_ONCE);
            let listed = self.directory.list_budgets(page).await.map_err(|error| self.refuse(error))?;
            let is_last = listed.items.len() < AT_ONCE as usize;
            shown.extend(listed.items.into_iter().map(BudgetShape::of));
            if is_last {
                return json(&shown);
            }
        }
    }
}

/// How many are read at a time.
const AT_ONCE: u32 = 1_000;
