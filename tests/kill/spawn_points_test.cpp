// spawn_points_test.cpp: a parent killed at the instructions of starting a worker and waiting for
// its end.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>

#include "kill/stage.hpp"

using rig::Actor;
using rig::Desk;
using rig::Model;
using rig::Stage;

namespace {

void count(Desk& desk) { desk.total.add(5); }

/// Workers whose parent was killed are this process's now. Each comes to an end by itself.
void await_orphans(Stage&) {
    while (::waitpid(-1, nullptr, 0) > 0 || errno == EINTR) {
    }
}

}  // namespace

TEST_CASE("kill: at the instructions of starting a worker", "[kill][process]") {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    // Most of it is reading who is running; every run starts a program.
    const std::uint64_t most_others = 25;
    rig::sweep_all(
        {
            {.name = "Process::spawn and join",
             .run =
                 [](Actor& a) {
                     if (!lagoon::Process::spawn<count>(a.desk).join().success()) std::abort();
                 },
             .effect = [](Model& m) { m.total += 5; },
             .help = await_orphans},
        },
        most_others);
    ::prctl(PR_SET_CHILD_SUBREAPER, 0);
}
