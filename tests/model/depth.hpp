// depth.hpp: how far the scenes are looked into.
#pragma once

#include <cstdlib>
#include <string>

#include <catch2/catch.hpp>

#include "machine.hpp"

namespace model {

/// 1 in the suite; LAGOON_STRESS of 10 and more asks for the long form.
inline bool is_long() {
    const char* stress = std::getenv("LAGOON_STRESS");
    return stress != nullptr && std::atoi(stress) >= 10;
}

enum class Under { coherent, histories, buffers, chance };

/// One scene under one memory model, with a line of figures. Cut where it is too long for the
/// suite; the long form goes one preemption deeper and is cut later.
inline void look(const Program& scene, Under memory, std::uint32_t preemptions,
                 std::uint32_t kills = 0) {
    Program program = scene;
    Bounds bounds{.preemptions = preemptions + (is_long() ? 1 : 0), .kills = kills};
    bounds.executions = is_long() ? 100'000 : 12'000;
    Search search = Search::exhaustive;
    switch (memory) {
        case Under::coherent: program.name += ".coherent"; break;
        case Under::histories:
            program.name += ".c++";
            bounds.stale = is_long() ? 2 : 1;
            break;
        case Under::buffers:
            program.name += ".x86";
            bounds.store_buffers = true;
            break;
        case Under::chance:
            program.name += ".chance";
            bounds.stale = 3;
            bounds.executions = is_long() ? 50'000 : 3'000;
            search = Search::random;
            break;
    }
    const Report report = run(program, bounds, search);
    INFO(report.failure << "\nLAGOON_MODEL_REPLAY='" << program.name << "@" << report.schedule
                        << "'");
    CHECK_FALSE(report.failed);
    CHECK(report.executions > 1);
    if (kills > 0) CHECK(report.kills > 0);
}

inline void require_holds(const Program& program, const Bounds& bounds) {
    const Report report = run(program, bounds);
    INFO(report.failure << "\nLAGOON_MODEL_REPLAY='" << program.name << "@" << report.schedule
                        << "'");
    CHECK_FALSE(report.failed);
    CHECK(report.executions > 1);
}

/// C++'s memory alone, deeper than the others: for scenes in which the order of two loads counts.
inline void look_deeply(const Program& scene, std::uint32_t preemptions, std::uint32_t stale = 1) {
    Program program = scene;
    program.name += ".c++.deep";
    require_holds(program, {.preemptions = preemptions + (is_long() ? 1 : 0),
                            .stale = stale,
                            .executions = is_long() ? 300'000U : 40'000U});
}

/// The same, where a protocol looks at one word again and again: each look may be an old one.
inline void look_lagging(const Program& scene, std::uint32_t preemptions, std::uint32_t stale) {
    Program program = scene;
    program.name += ".c++.lag";
    require_holds(program, {.preemptions = preemptions,
                            .stale = stale,
                            .lag = true,
                            .executions = is_long() ? 300'000U : 40'000U});
}

/// The same under all of them.
inline void look_everywhere(const Program& scene, std::uint32_t preemptions,
                            std::uint32_t kills = 0) {
    look(scene, Under::coherent, preemptions, kills);
    look(scene, Under::histories, preemptions > 1 ? preemptions - 1 : 1, kills);
    look(scene, Under::buffers, preemptions > 1 ? preemptions - 1 : 1, kills);
    look(scene, Under::chance, preemptions, kills);
}

}  // namespace model
