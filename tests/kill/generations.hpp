// generations.hpp: the generation in a slot's word counts every change of it. Whoever looks at the
// words now and then, across kills and repairs, can tell: between two looks it has grown by at
// least as many steps as lead from the one state to the other, and no two leases of a slot have
// the same one.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <map>
#include <utility>

#include "kill/desk.hpp"

namespace rig {

using support::SlotState;

/// The steps that a slot's word can make (runtime/DESIGN.md), and how many it takes, at least.
class Steps {
public:
    Steps() {
        using enum SlotState;
        for (auto& row : least_) row.fill(unreachable);
        // The same owner goes on, in the same generation; or a thief asks, and it is not to be.
        at(biased, revoking) = at(revoking, biased) = at(biased, held) = 0;
        least_[index(building)][ended] = least_[index(closing)][ended] = 0;
        least_[index(dirty)][ended] = least_[ended][index(empty)] = least_[ended][index(dirty)] = 1;
        const auto from = [&](SlotState a, std::initializer_list<SlotState> all) {
            for (const SlotState b : all) at(a, b) = 1;
        };
        from(empty, {building});
        from(building, {held, free, empty, closing, dirty});
        from(free, {held, closing, dirty});
        from(held, {free, closing, dirty, quarantined, biased, checking});
        from(biased, {free});
        from(revoking, {free, held});
        from(dirty, {free, checking, closing, quarantined, dirty});
        from(checking, {free, held, dirty, quarantined});
        from(closing, {empty, dirty, quarantined});
        from(quarantined, {closing, dirty});
        for (std::size_t via = 0; via < states; ++via) {
            for (std::size_t a = 0; a < states; ++a) {
                for (std::size_t b = 0; b < states; ++b) {
                    least_[a][b] = std::min(least_[a][b], least_[a][via] + least_[via][b]);
                }
            }
        }
    }
    [[nodiscard]] std::uint64_t between(std::uint64_t a, std::uint64_t b) const {
        return least_[kind(a)][kind(b)];
    }

private:
    static constexpr std::size_t ended = 16;  // CLOSING, and the resource is gone
    static constexpr std::size_t states = ended + 1;
    static constexpr std::uint64_t unreachable = 1000;
    static std::size_t index(SlotState state) { return static_cast<std::size_t>(state); }
    static std::size_t kind(std::uint64_t truth) {
        namespace word = lagoon::detail::word;
        const SlotState state = word::state(truth);
        return state == SlotState::closing && word::is_ended(truth) ? ended : index(state);
    }
    std::uint64_t& at(SlotState a, SlotState b) { return least_[index(a)][index(b)]; }
    std::array<std::array<std::uint64_t, states>, states> least_{};
};

inline const Steps& steps() {
    static const Steps all;
    return all;
}

class Generations {
public:
    /// Another arena.
    void forget() {
        slots_.clear();
        words_.clear();
    }

    /// At every slot's word.
    template <class T>
    void look(lagoon::Pool<T>& pool) {
        for (std::uint64_t i = 0; i < pool.capacity(); ++i) {
            Seen& seen = slots_[{&pool, i}];
            const std::uint64_t now = support::truth_of(pool, i);
            if (now == seen.word) continue;
            INFO("slot " << i << " of a pool of " << pool.capacity() << " was " << std::hex
                         << seen.word << ", is " << now);
            require_counted(seen.word, now);
            seen.word = now;
        }
    }
    /// At a lease that was taken just now.
    template <class T>
    void look(lagoon::Pool<T>& pool, const Lease<T>& lease) {
        Seen& seen = slots_[{&pool, lease.index()}];
        namespace word = lagoon::detail::word;
        const std::uint64_t truth = support::truth_of(pool, lease.index());
        const std::uint64_t generation = word::generation(truth);
        INFO("a lease of slot " << lease.index() << " of a pool of " << pool.capacity());
        // Of a kept slot the leases are counted by its claim word.
        if (word::is_kept(truth)) {
            REQUIRE(generation >= seen.leased);
        } else {
            REQUIRE(generation > seen.leased);
        }
        seen.leased = generation;
    }

    /// At a lock's word, which counts the changes of its owner behind the three flags.
    void look(lagoon::Lock& lock) {
        constexpr std::uint64_t locked = 1 << 10;
        constexpr unsigned count_shift = 13;
        std::uint64_t& before = words_[&lock];
        const std::uint64_t now = word_of(&lock);
        INFO("a lock was " << std::hex << before << ", is " << now);
        REQUIRE(now >> count_shift >= before >> count_shift);
        if ((before & locked) != (now & locked)) {
            REQUIRE(now >> count_shift > before >> count_shift);
        }
        before = now;
    }
    /// At the selector of a wide value, which counts what ends a claim.
    template <class T>
    void look(lagoon::Value<T>& value) {
        namespace selector = lagoon::detail::selector;
        std::uint64_t& before = words_[&value];
        const std::uint64_t now = word_of(&value);
        INFO("a selector was " << std::hex << before << ", is " << now);
        const std::uint64_t ended = now / selector::one_commit - before / selector::one_commit;
        REQUIRE(now / selector::one_commit >= before / selector::one_commit);
        if (now != before && (before & selector::claimed_bit) != 0) REQUIRE(ended > 0);
        if (((now ^ before) & 1) != 0) REQUIRE(ended > 0);  // the other copy
        before = now;
    }

private:
    struct Seen {
        std::uint64_t word = 0;    // as it was at the last look
        std::uint64_t leased = 0;  // of the last lease
    };

    static void require_counted(std::uint64_t before, std::uint64_t now) {
        namespace word = lagoon::detail::word;
        if (word::same_generation(before, now)) {
            // A thread's end hands over what it owns; mark_clean() is the holder's.
            REQUIRE((word::names_owner(before) || word::is_kept(before)));
            REQUIRE((word::names_owner(now) || word::is_kept(now)));
            if (word::is_ended(now) || word::is_kept(before)) {
                REQUIRE(steps().between(before, now) == 0);
            } else {
                REQUIRE(((before ^ now) & ~(word::owner_mask | word::recovered_bit)) == 0);
            }
            return;
        }
        REQUIRE(word::generation(now) > word::generation(before));
        REQUIRE(word::generation(now) - word::generation(before) >= steps().between(before, now));
    }

    static std::uint64_t word_of(const void* object) {
        // L3, V2 acquire load, no pair: the first word of a lock or of a wide value.
        return static_cast<const lagoon::detail::Atomic<std::uint64_t>*>(object)->load(
            std::memory_order_acquire);
    }

    std::map<const void*, std::uint64_t> words_;
    std::map<std::pair<const void*, std::uint64_t>, Seen> slots_;
};

}  // namespace rig
