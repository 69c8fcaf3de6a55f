// pool_recall.cpp: what a thread takes again of what it remembers, and what it remembers.
#include "front.hpp"
#include "pool_body.hpp"

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
    last.word = keeping.lent_mark;
    count_acquired(cache);
    return {mine, index};
}

void make_place(PoolCache& cache) noexcept {
    Keeping& keeping = cache.keeping;
    if (keeping.busy || !keeping.remembers) return;
    KnownSlot& top = top_of(keeping);
    if (!word::is_kept(top.word)) top.word = keeping.lent_mark;
}

void remember(PoolCache& cache, std::uint64_t free, std::uint64_t index) noexcept {
    Keeping& keeping = cache.keeping;
    if (!keeping.remembers || keeping.busy) return;
    push(keeping, free, index);
}

}  // namespace lagoon::inline v1::detail
