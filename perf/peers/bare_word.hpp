// bare_word.hpp: what marking a slot's owner costs at the least: one word per slot, one CAS to take
// it, one store or exchange to give it back; or, while nobody else wants it, two counted stores.
//
//   Shape      a cache line per slot, and each process has a share of the slots and knows by
//              itself, in private memory, which of them are free; of the last, three lines and one
//              slot per process
//   Death      the word names its owner, but nobody looks: this is a floor, not a pool. It finds
//              nothing, shares nothing, wakes nobody
//   Edges      W2 -> W1, W3 -> W1    carry the holder's writes to the next holder
//              W4, W5                claim and question, which nobody asks here
#pragma once

#include <cstdint>
#include <vector>

#include <lagoon/detail/atomic.hpp>

#include "../support/stage.hpp"
#include "boost_lockfree.hpp"

namespace lagoon_perf {

enum class GiveBack { store, exchange };

template <GiveBack give_back>
class BareWord {
public:
    using Held = std::uint32_t;

    BareWord(Stage& stage, std::uint32_t capacity_slots)
        : words_(stage.array<Word>(capacity_slots)), owner_(stage.participant() + 1) {
        const std::uint32_t share = capacity_slots / stage.participants();
        free_.resize(share);
        for (std::uint32_t n = 0; n < share; ++n) free_[n] = stage.participant() * share + n;
        count_ = share;
    }

    Held take() {
        if (count_ == 0) return no_slot;
        const std::uint32_t slot = free_[--count_];
        std::uint64_t expected = 0;
        // W1 acquire CAS <- W2, W3. On failure nothing was read that is used.
        return words_[slot].owner.compare_exchange_strong(
                   expected, owner_, std::memory_order_acquire, std::memory_order_relaxed)
                   ? slot
                   : no_slot;
    }
    bool has(Held held) const { return held != no_slot; }
    const void* address(Held held) const { return &words_[held].value; }
    void give(Held held) {
        if constexpr (give_back == GiveBack::store) {
            // W2 release store -> W1.
            words_[held].owner.store(0, std::memory_order_release);
        } else {
            // W3 seq_cst RMW -> W1: the full fence that a plain look at the waiters would need.
            words_[held].owner.exchange(0, std::memory_order_seq_cst);
        }
        free_[count_++] = held;
    }
    void leave(Held held) { give(held); }

private:
    struct alignas(64) Word {
        lagoon::detail::Atomic<std::uint64_t> owner;
        std::uint64_t value;
    };
    Word* words_;
    std::uint64_t owner_;
    std::vector<std::uint32_t> free_;
    std::size_t count_ = 0;
};

/// As a slot that its thread keeps: odd while it is lent, two per lease, so that it is the count,
/// too; and one look each at what a thief and a waiter would write.
class BareClaim {
public:
    using Held = std::uint64_t;

    BareClaim(Stage& stage, std::uint32_t /*capacity_slots*/)
        : slot_{stage.array<Slot>(stage.participants()) + stage.participant()} {}

    [[gnu::always_inline]] Held take() {
        // W4 relaxed load, no pair: this process alone writes it.
        const std::uint64_t claimed = slot_->claim.load(std::memory_order_relaxed) + 1;
        // W4 relaxed store, no pair: a thief's fence would order it before the next load.
        slot_->claim.store(claimed, std::memory_order_relaxed);
        lagoon::detail::light_fence();
        // W5 acquire load, no pair: nobody asks.
        return slot_->asked.load(std::memory_order_acquire) == 0 ? claimed : 0;
    }
    bool has(Held held) const { return held != 0; }
    const void* address(Held /*held*/) const { return &slot_->value; }
    [[gnu::always_inline]] void give(Held held) {
        // W4 release store, no pair: nobody else takes it.
        slot_->claim.store(held + 1, std::memory_order_release);
        lagoon::detail::light_fence();
        // W5 seq_cst load, no pair: nobody waits.
        if (slot_->waited_for.load(std::memory_order_seq_cst) != 0) slot_->value = 0;
    }
    void leave(Held held) { give(held); }

private:
    struct alignas(64) Slot {
        lagoon::detail::Atomic<std::uint64_t> claim;
        alignas(64) lagoon::detail::Atomic<std::uint64_t> asked;
        std::uint64_t value;
        alignas(64) lagoon::detail::Atomic<std::uint64_t> waited_for;
    };
    Slot* slot_;
};

using BareCasStore = BareWord<GiveBack::store>;
using BareCasExchange = BareWord<GiveBack::exchange>;

}  // namespace lagoon_perf
