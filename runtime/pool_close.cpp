// pool_close.cpp: emptying a pool, closing it, and waiting until all of it is given back.
//
//   killed                            leaves
//   closer, before the mark           an open pool
//   closer, after the mark            a closed pool, with demand raised by the closer or by who
//                                     repairs after it: every release ends its resource
#include "pool_life.hpp"
#include "process_state.hpp"
#include "reap.hpp"

namespace lagoon::inline v1::detail {

void call_attention(PoolObject& pool) noexcept {
    const Attachment* attachment = attachment_of(&pool);
    // D1 seq_cst RMW, no pair: ordered with the releaser's word by the heavy fence. kept: the heavy
    // fence behind it is a full one on this CPU in any case.
    body_of(pool).demand.fetch_or(demand_attention, std::memory_order_seq_cst);
    heavy_fence(attachment == nullptr || attachment->others_light());
}

std::uint64_t pool_clear(PoolObject& pool) {
    PoolBody& body = body_of(pool);
    (void)lane_of(&pool);
    free_all_kept(pool);
    std::uint64_t emptied = 0;
    for (std::uint64_t index = 0; index < body.capacity; ++index) {
        // Twice: a thread that ends, or a repairer, may have made it DIRTY after the first look,
        // and leaves it to us.
        for (int look = 0; look < 2; ++look) {
            const std::uint64_t word = truth_of(body, index);
            const SlotState state = word::state(word);
            if (state != SlotState::free && state != SlotState::dirty &&
                state != SlotState::quarantined) {
                break;
            }
            if (!empty_slot(pool, index, word)) continue;
            ++emptied;
            break;
        }
    }
    return emptied;
}

void mark_closed(PoolObject& pool) noexcept {
    // O6 seq_cst store -> O5: before the demand, which sends every release the long way. kept: the
    // heavy fence behind the demand orders it, too.
    body_of(pool).closed.store(1, std::memory_order_seq_cst);
}

void tell_closed(PoolObject& pool) noexcept {
    mark_closed(pool);
    call_attention(pool);
    wake_everybody(pool);
}

void pool_close(PoolObject& pool) {
    (void)lane_of(&pool);
    tell_closed(pool);
    pool_clear(pool);
}

Outcome pool_drain(PoolObject& pool, const Patience& patience) {
    pool_close(pool);
    const Outcome outcome = await_returns(pool, patience);
    // What dead borrowers left was taken back in the wait.
    pool_clear(pool);
    return outcome;
}

Outcome await_returns(PoolObject& pool, const Patience& patience) {
    PoolBody& body = body_of(pool);
    Sleeper sleeper{&pool, body.event, patience};
    for (;;) {
        tell_overdue(pool, Piece::next);
        // D2 acquire load <- D4, E1: every release of a closed pool moves it.
        const std::uint32_t seen = body.event.load(std::memory_order_acquire);
        if (pool_count(pool, SlotState::held) + pool_count(pool, SlotState::building) == 0) {
            return Outcome::ok;
        }
        if (sleeper.stop_requested()) return Outcome::cancelled;
        if (sleeper.expired()) return Outcome::timed_out;
        sleeper.sleep(seen, next_tell(pool));
    }
}

}  // namespace lagoon::inline v1::detail
