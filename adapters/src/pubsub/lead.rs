//! Which host runs what runs once in the cluster: the oldest that is alive.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::hosts::Hosts;

/// Where this host stands among those of the cluster.
///
/// A host that comes takes a rank above all that it has heard of, which its heartbeats tell; the host of the lowest rank leads.
/// It loses its rank as soon as it does not hear itself any more, which is before the others forget it.
#[derive(Debug)]
pub(super) struct Lead {
    own_id: String,
    /// How long the others are listened to before a rank is taken, and again before the lead is.
    wait: Duration,
    standing: Mutex<Standing>,
    leads: watch::Sender<bool>,
}

#[derive(Clone, Copy, Debug)]
enum Standing {
    /// This host does not hear itself.
    Deaf,
    Listening {
        since: Instant,
    },
    Ranked {
        rank: u64,
        /// From when it may lead; until then another host may show that it has taken the same rank.
        leads_from: Instant,
    },
    Closed,
}

impl Lead {
    pub(super) fn new(own_id: String, canary_interval: Duration) -> Self {
        Self {
            own_id,
            wait: canary_interval / 2,
            standing: Mutex::new(Standing::Deaf),
            leads: watch::Sender::new(false),
        }
    }

    pub(super) fn leads(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// What heartbeats tell; the lower of two with the same rank is the lower host id.
    pub(super) fn rank(&self) -> Option<u64> {
        match *self.standing() {
            Standing::Ranked { rank, .. } => Some(rank),
            _ => None,
        }
    }

    /// Looks at the clock and the other hosts. Returns whether this host has just taken a rank, of which the others should hear soon.
    pub(super) fn update(&self, hosts: &Hosts, hears_itself: bool, is_alone: bool) -> bool {
        let mut standing = self.standing();
        let now = Instant::now();
        let (next, is_news) = self.next(*standing, now, hosts, hears_itself, is_alone);
        *standing = next;
        let leads = match next {
            Standing::Ranked { rank, leads_from } => now >= leads_from && !hosts.has_senior(rank, &self.own_id),
            _ => false,
        };
        // With the standing locked, so that after `close` nobody says otherwise.
        self.leads
            .send_if_modified(|before| std::mem::replace(before, leads) != leads);
        is_news
    }

    /// Never again.
    pub(super) fn close(&self) {
        let mut standing = self.standing();
        *standing = Standing::Closed;
        self.leads.send_if_modified(std::mem::take);
    }

    fn next(
        &self,
        standing: Standing,
        now: Instant,
        hosts: &Hosts,
        hears_itself: bool,
        is_alone: bool,
    ) -> (Standing, bool) {
        let rank_from = |leads_from| {
            let rank = hosts.highest_rank().saturating_add(1);
            (Standing::Ranked { rank, leads_from }, true)
        };
        match standing {
            Standing::Closed => (standing, false),
            _ if !hears_itself => (Standing::Deaf, false),
            Standing::Deaf if is_alone => rank_from(now),
            Standing::Deaf => (Standing::Listening { since: now }, false),
            Standing::Listening { since } if now - since >= self.wait => rank_from(now + self.wait),
            Standing::Listening { .. } | Standing::Ranked { .. } => (standing, false),
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(2);

    fn host(id: &str) -> (Hosts, Lead) {
        (Hosts::new(id.into(), INTERVAL), Lead::new(id.into(), INTERVAL))
    }

    async fn settle(hosts: &Hosts, lead: &Lead) {
        for _ in 0..3 {
            lead.update(hosts, true, false);
            tokio::time::advance(INTERVAL / 2).await;
        }
        lead.update(hosts, true, false);
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_never_takes_the_lead_from_a_living_host() {
        let (hosts, lead) = host("a newcomer");
        let leads = lead.leads();
        hosts.alive("b".into(), Some(7));
        settle(&hosts, &lead).await;
        assert_eq!((lead.rank(), *leads.borrow()), (Some(8), false));
        hosts.alive("c".into(), None);
        hosts.gone("b");
        lead.update(&hosts, true, false);
        assert!(*leads.borrow(), "handed over at once; one without a rank is younger");
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_that_come_at_once_one_leads() {
        let [(a_hosts, a), (b_hosts, b)] = [host("a"), host("b")];
        for (hosts, lead) in [(&a_hosts, &a), (&b_hosts, &b)] {
            lead.update(hosts, true, false);
            tokio::time::advance(INTERVAL / 2).await;
            lead.update(hosts, true, false);
        }
        // Neither has heard of the other's rank when it takes its own.
        assert_eq!((a.rank(), b.rank()), (Some(1), Some(1)));
        a_hosts.alive("b".into(), b.rank());
        b_hosts.alive("a".into(), a.rank());
        tokio::time::advance(INTERVAL / 2).await;
        a.update(&a_hosts, true, false);
        b.update(&b_hosts, true, false);
        assert_eq!((*a.leads().borrow(), *b.leads().borrow()), (true, false));
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_hear_itself_loses_its_rank() {
        let (hosts, lead) = host("a");
        let leads = lead.leads();
        assert!(lead.update(&hosts, true, true), "alone");
        assert!(*leads.borrow());
        hosts.alive("b".into(), Some(2));
        lead.update(&hosts, false, false);
        assert_eq!((lead.rank(), *leads.borrow()), (None, false));
        settle(&hosts, &lead).await;
        assert_eq!(
            (lead.rank(), *leads.borrow()),
            (Some(3), false),
            "behind the one that took over"
        );
        lead.close();
        hosts.gone("b");
        settle(&hosts, &lead).await;
        assert!(!*leads.borrow(), "closed");
    }
}
