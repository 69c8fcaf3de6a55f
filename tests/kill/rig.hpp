// rig.hpp: an operation killed at every one of its system calls.
#pragma once

#include "kill/stepper.hpp"

namespace rig {

/// Runs the operation again and again, killed at its first stop, its second, and so on until it
/// is over before the kill. `before` sets the scene, `after(stopper)` looks at what was left.
/// Returns the number of kill points.
template <class Before, class Prepare, class Operation, class After>
std::uint64_t kill_everywhere(Before&& before, Prepare&& prepare, Operation&& operation,
                              After&& after, const WhenBlocked& when_blocked = nullptr) {
    for (std::uint64_t stop = 1;; ++stop) {
        before();
        Stepper stepper{prepare, operation};
        const bool over = stepper.step_to(stop, when_blocked) != Stop::halted;
        const std::string where =
            over ? "after the end" : "stop " + std::to_string(stop) + ", " + stepper.where();
        const auto end = over && stepper.state() == Stop::done ? stepper.finish() : stepper.kill();
        INFO("killed at " << where);
        REQUIRE(end == (over ? support::exited(0) : support::killed_by(SIGKILL)));
        after(over);
        if (over) return stop - 1;
    }
}

}  // namespace rig
