// linearizable.hpp: can a recorded history be put into one order that its sequential form allows?
//
//   Source   J. Wing, C. Gong, Testing and Verifying Concurrent Objects, 1993; the memory of states
//            already met is G. Lowe's, Testing for Linearizability, 2017
//   Bound    the number of steps; when it is reached the answer is `undecided`, never yes or no
//
// A specification `Spec` has the types `Operation` (what was asked and what came back) and `State`
// (copied, compared with ==, hashed by `hash`), and says with
//     static bool apply(State& state, const Operation& operation, bool answered)
// whether the operation could have had that answer in that state, which it changes. `answered` is
// false for an operation of a process that was killed inside: it may have happened, with any
// answer, or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace support {

enum class Verdict { linearizable, impossible, undecided };

constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

/// One call: asked at `begin`, answered at `end`, on a clock that all participants share; `end` is
/// `never` for one that was killed inside.
template <class Operation>
struct Call {
    std::uint64_t begin = 0;
    std::uint64_t end = never;
    Operation operation{};
};

template <class Spec>
class LinearizabilityCheck {
public:
    using State = typename Spec::State;
    using Calls = std::vector<Call<typename Spec::Operation>>;

    LinearizabilityCheck(Calls calls, std::uint64_t most_steps)
        : calls_{std::move(calls)}, most_steps_{most_steps}, done_(calls_.size(), false) {}

    Verdict run(const State& initial) {
        answers_left_ = 0;
        for (const auto& call : calls_) answers_left_ += call.end != never ? 1 : 0;
        const bool found = search(initial);
        if (found) return Verdict::linearizable;
        return steps_ > most_steps_ ? Verdict::undecided : Verdict::impossible;
    }
    [[nodiscard]] std::uint64_t steps() const { return steps_; }

private:
    /// True when what is left can be ordered from `state` on.
    bool search(const State& state) {
        if (answers_left_ == 0) return true;  // what was never answered need not have happened
        if (++steps_ > most_steps_ || met_before(state)) return false;
        // Whoever comes next began before any other that is left had ended.
        std::uint64_t first_end = never;
        for (std::size_t i = 0; i < calls_.size(); ++i) {
            if (!done_[i] && calls_[i].end < first_end) first_end = calls_[i].end;
        }
        for (std::size_t i = 0; i < calls_.size(); ++i) {
            if (done_[i] || calls_[i].begin > first_end) continue;
            const bool answered = calls_[i].end != never;
            State next = state;
            if (!Spec::apply(next, calls_[i].operation, answered)) continue;
            done_[i] = true;
            answers_left_ -= answered ? 1 : 0;
            if (search(next)) return true;
            done_[i] = false;
            answers_left_ += answered ? 1 : 0;
        }
        return false;
    }
    bool met_before(const State& state) {
        std::uint64_t key = Spec::hash(state);
        for (const bool done : done_) key = (key ^ (done ? 2 : 1)) * 0x100000001b3;
        auto& met = met_[key];
        for (const auto& [done, found] : met) {
            if (done == done_ && found == state) return true;
        }
        met.emplace_back(done_, state);
        return false;
    }

    Calls calls_;
    std::uint64_t most_steps_;
    std::vector<bool> done_;
    std::size_t answers_left_ = 0;
    std::uint64_t steps_ = 0;
    std::unordered_map<std::uint64_t, std::vector<std::pair<std::vector<bool>, State>>> met_;
};

template <class Spec>
Verdict check_linearizable(std::vector<Call<typename Spec::Operation>> calls,
                           const typename Spec::State& initial,
                           std::uint64_t most_steps = 1'000'000) {
    return LinearizabilityCheck<Spec>{std::move(calls), most_steps}.run(initial);
}

}  // namespace support
