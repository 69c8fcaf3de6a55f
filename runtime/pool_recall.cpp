// pool_recall.cpp: what a thread remembers, and takes again before it looks any further.
#include <thread>

#include "front.hpp"
#include "keeping.hpp"
#include "pool_body.hpp"
#include "pool_life.hpp"
#include "pool_queue.hpp"

namespace lagoon::inline v1::detail {

void count_acquired(PoolCache& cache) noexcept {
    if (cache.shared) {
        // P8 relaxed RMW, no pair: several threads share the stripe. kept: torn, it loses a count
        // and nothing else.
        cache.acquired->fetch_add(1, std::memory_order_relaxed);
        return;
    }
    // P3 relaxed load, no pair: this thread alone writes its stripe.
    const std::uint64_t before = cache.acquired->load(std::memory_order_relaxed);
    // P4 relaxed store, no pair: a statistic.
    cache.acquired->store(before + 1, std::memory_order_relaxed);
}

Taken recall_last(PoolBody& body, PoolCache& cache) noexcept {
    Keeping& keeping = cache.keeping;
    KnownSlot& last = top_of(keeping);
    // Of one that it keeps, and that was stolen, it would know two things at once.
    const bool keeps = keeping.keeps && keeping.free_claims != all_claims;
    if (keeps || word::state(last.word) != SlotState::free) {
        return not_taken(Outcome::would_block);
    }
    const std::uint64_t index = last.index;
    // O4 relaxed load, no pair: a guess for O2.
    std::uint64_t word = cache.slot(index).truth.load(std::memory_order_relaxed);
    if (word::state(word) != SlotState::free) return not_taken(Outcome::would_block);
    const std::uint64_t mine = word::next(word, SlotState::held, cache.lane);
    light_fence();  // as in pool_try_fast
    if (!move_truth(body, index, word, mine)) return not_taken(Outcome::would_block);
    last.word = mark_for(keeping, index);
    count_acquired(cache);
    return {mine, index};
}

void make_place(PoolCache& cache, std::uint64_t index) noexcept {
    Keeping& keeping = cache.keeping;
    if (keeping.busy || !keeping.remembers) return;
    KnownSlot& top = top_of(keeping);
    if (!word::is_kept(top.word)) top.word = mark_for(keeping, index);
}

void remember(PoolCache& cache, std::uint64_t free, std::uint64_t index) noexcept {
    Keeping& keeping = cache.keeping;
    if (!keeping.remembers || keeping.busy) return;
    const Busy busy{keeping};
    if (!is_lent_here(lendable_of(keeping))) push_idle(keeping);
    push(keeping, free, index);
    keeping.front = &top_of(keeping);
}

Taken pool_try_acquire(PoolObject& pool, KeptSlot* claimed) noexcept {
    // Not in the last pool's memory: a signal handler may have used another pool since.
    if (claimed != nullptr && reclaim(cache_of(pool), *claimed)) {
        return {claimed->word, claimed->index};
    }
    if (PoolCache& last = *hot.last;
        last.pool() == &pool && last.keeping.remembers && !is_closed(*last.body)) {
        Taken taken = recall_last(*last.body, last);
        if (taken.word == 0) taken = recall_kept(*last.body, last);
        if (taken.word != 0) return taken;
    }
    Outcome why = Outcome::closed;
    PoolCache* cache = cache_or(pool, &why);
    return cache != nullptr ? take_idle(pool, *cache, Effort::tried) : not_taken(why);
}

namespace {

// A fight costs as much as many leases that nobody disputes: if fewer come between two of them ...
constexpr std::uint64_t undisputed_leases = 4096;
constexpr std::uint32_t fights_before_rest = 16;  // ... so often, others run first

/// Who has to look for a slot again and again fights with another CPU over the last ones, while
/// those that its own CPU's other threads hold wait for them to run.
void rest_from_fighting(const PoolObject& pool) noexcept {
    PoolCache& cache = *hot.last;
    // Where nothing is remembered all calls come here.
    if (cache.pool() != &pool || !cache.keeping.remembers) return;
    const std::uint64_t taken = leases_of(claims_of(pool, cache.lane));
    cache.fights = taken - cache.fought_at <= undisputed_leases ? cache.fights + 1 : 0;
    cache.fought_at = taken;
    if (cache.fights < fights_before_rest) return;
    cache.fights = 0;
    std::this_thread::yield();
}

}  // namespace

Taken pool_try_first(PoolObject& pool, KeptSlot* claimed) noexcept {
    if (has_life(body_of(pool))) return not_taken(Outcome::would_block);
    if (claimed == nullptr) rest_from_fighting(pool);
    return pool_try_acquire(pool, claimed);
}

}  // namespace lagoon::inline v1::detail
