// hints.hpp: a tree of bits over slots; a set bit says "look here", a clear one "surely not", as
// far as its users keep to the rules at each call.
//
//   Shape      level 0 has one bit per slot; each further level one bit per word of the one below
//   Progress   every call is lock-free; next() reads at most a few words per level
//   Death      a bit may stay set for nothing (a reader looks in vain) or, when its setter died in
//              the middle, be missing: the reaper of the dead sets it again
//   Edges      T1, T3 with T2, T4: setter and clearer of a word and its summary are all seq_cst
//              RMWs, so at least one of the two sees the other
#pragma once

#include <bit>
#include <cstdint>

#include <lagoon/detail/atomic.hpp>
#include <lagoon/detail/pool_core.hpp>

namespace lagoon::inline v1::detail {

constexpr std::uint64_t no_index = ~std::uint64_t{0};

class HintTree {
public:
    static std::uint64_t words_for(std::uint64_t slots) noexcept {
        std::uint64_t words = 0;
        std::uint64_t level = slots;
        do {
            level = (level + 63) / 64;
            words += level;
        } while (level > 1);
        return words;
    }

    HintTree(Atomic<std::uint64_t>* words, std::uint64_t slots) noexcept {
        std::uint64_t level = slots;
        do {
            level = (level + 63) / 64;
            level_[levels_] = words;
            count_[levels_] = level;
            words += level;
            ++levels_;
        } while (level > 1 && levels_ < hint_levels);
    }

    [[nodiscard]] bool test(std::uint64_t index) const noexcept {
        // T3 seq_cst load, no pair: ordered with T2 and, behind it, the slot's word.
        return (level_[0][index / 64].load(std::memory_order_seq_cst) >> (index % 64) & 1) != 0;
    }

    void set(std::uint64_t index) noexcept {
        for (std::uint32_t l = 0; l < levels_; ++l) {
            const std::uint64_t bit = std::uint64_t{1} << (index % 64);
            index /= 64;
            // T1 seq_cst RMW, no pair: ordered with T2 and T4. kept: with acq_rel the look above
            // could come first and miss who clears there, as that one us; no scene is large enough.
            const std::uint64_t before = level_[l][index].fetch_or(bit, std::memory_order_seq_cst);
            // The word above was set by whoever set the first bit here, or is being cleared by
            // one who will look here again.
            if (before != 0 && above_is_set(l, index)) return;
        }
    }

    /// After a death: whatever level a dead setter or clearer may have left clear.
    void restore(std::uint64_t index) noexcept {
        for (std::uint32_t l = 0; l < levels_; ++l) {
            const std::uint64_t bit = std::uint64_t{1} << (index % 64);
            index /= 64;
            // T3 seq_cst load, no pair: ordered with T2 and T4, for a clearer may have looked at
            // the slot before the dead one changed it.
            if ((level_[l][index].load(std::memory_order_seq_cst) & bit) != 0) continue;
            // T1 seq_cst RMW, no pair: ordered with T2 and T4; who clears the bit takes over what
            // is known here of the slot.
            level_[l][index].fetch_or(bit, std::memory_order_seq_cst);
        }
    }

    /// Clears bits of one leaf. The caller looks again at what they stood for.
    void clear(std::uint64_t leaf, std::uint64_t bits) noexcept {
        // T2 seq_cst RMW, no pair: ordered with T1, and with T3 and P6.
        // kept: acq_rel would do: who sets the bit does so by an RMW, and before the slot is looked
        // at where somebody may only have looked at the bit, the heavy fence runs.
        const std::uint64_t left =
            level_[0][leaf].fetch_and(~bits, std::memory_order_seq_cst) & ~bits;
        std::uint64_t index = leaf;
        for (std::uint32_t l = 1; l < levels_ && clear_above(l, index, left); ++l) index /= 64;
    }

    [[nodiscard]] std::uint64_t leaf(std::uint64_t leaf) const noexcept {
        // T5 relaxed load, no pair: a hint.
        return level_[0][leaf].load(std::memory_order_relaxed);
    }

    /// The first leaf at or after `from` that has a bit set, or no_index, found without the levels
    /// above: sure to see every bit whose setter has returned.
    [[nodiscard]] std::uint64_t next_leaf_surely(std::uint64_t from) const noexcept {
        while (from < count_[0] && leaf(from) == 0) ++from;
        return from < count_[0] ? from : no_index;
    }

    /// The same by the levels above, a few words in all. While another thread clears the last bit
    /// of a word, a bit set there meanwhile may be out of sight until that thread has looked again.
    [[nodiscard]] std::uint64_t next_leaf(std::uint64_t from) noexcept {
        std::uint32_t l = 0;
        std::uint64_t at = from;
        for (;;) {
            if (at >= count_[l]) return no_index;
            // T5 relaxed load, no pair: a hint.
            const bool here = level_[l][at].load(std::memory_order_relaxed) != 0;
            if (here && l == 0) return at;
            if (here) {
                // Down to the first set bit of this word.
                // T5 relaxed load, no pair: a hint.
                const std::uint64_t bits = level_[l][at].load(std::memory_order_relaxed);
                if (bits == 0) continue;
                --l;
                at = at * 64 + static_cast<std::uint64_t>(std::countr_zero(bits));
                // A bit past the last word stands for nothing: something else has written it.
                if (at >= count_[l]) return no_index;
                // T5 relaxed load, no pair: a hint.
                if (level_[l][at].load(std::memory_order_relaxed) == 0) {
                    (void)clear_above(l + 1, at, 0);
                    ++at;
                }
                continue;
            }
            // Nothing here: the next set bit of the word above.
            if (l + 1 == levels_) return no_index;
            const std::uint64_t next = at + 1;
            ++l;
            if (next % 64 == 0) {
                at = next / 64;
                continue;
            }
            // T5 relaxed load, no pair: a hint.
            const std::uint64_t above =
                level_[l][next / 64].load(std::memory_order_relaxed) >> (next % 64);
            if (above == 0) {
                at = next / 64 + 1;
            } else {
                at = next + static_cast<std::uint64_t>(std::countr_zero(above));
                --l;
            }
        }
    }

private:
    [[nodiscard]] bool above_is_set(std::uint32_t l, std::uint64_t index) const noexcept {
        if (l + 1 == levels_) return true;
        // T3 seq_cst load, no pair: ordered with T4.
        // kept: who set the first bit of the word below sets the one above, too, so after an old
        // answer here this bit is out of sight only until then.
        const std::uint64_t above = level_[l + 1][index / 64].load(std::memory_order_seq_cst);
        return (above >> (index % 64) & 1) != 0;
    }

    /// A word of the level below `l` is empty: its bit here goes, unless the word was filled again.
    /// True when the word here became empty, too.
    bool clear_above(std::uint32_t l, std::uint64_t below, std::uint64_t left) noexcept {
        if (left != 0) return false;
        const std::uint64_t bit = std::uint64_t{1} << (below % 64);
        // T4 seq_cst RMW, no pair: ordered with T1 and T3; takes over what the setter of this bit
        // set below.
        const std::uint64_t before =
            level_[l][below / 64].fetch_and(~bit, std::memory_order_seq_cst);
        // T3 seq_cst load, no pair: ordered with T1.
        if (level_[l - 1][below].load(std::memory_order_seq_cst) != 0) {
            // T1 seq_cst RMW, no pair: ordered with T2 and T4.
            // kept: its order, for the setter of the first bit below sets this one, too, and it is
            // that one's T1 which the next T4 takes over.
            level_[l][below / 64].fetch_or(bit, std::memory_order_seq_cst);
            set_above(l, below / 64);
            return false;
        }
        return (before & ~bit) == 0;
    }

    void set_above(std::uint32_t l, std::uint64_t index) noexcept {
        for (++l; l < levels_; ++l) {
            // T1 seq_cst RMW, no pair: ordered with T2 and T4. kept: its order, as in clear_above.
            level_[l][index / 64].fetch_or(std::uint64_t{1} << (index % 64),
                                           std::memory_order_seq_cst);
            index /= 64;
        }
    }

    std::array<Atomic<std::uint64_t>*, hint_levels> level_{};
    std::array<std::uint64_t, hint_levels> count_{};
    std::uint32_t levels_ = 0;
};

}  // namespace lagoon::inline v1::detail
