// desk.hpp: the struct that a program and its plugins share, whatever they were compiled with.
#pragma once

#include <cstdint>
#include <lagoon/lagoon.hpp>
#include <string>

namespace plugin {

struct Part {
    lagoon::Value<char> letter{"letter"};
    lagoon::Array<unsigned long> words{"words", 2};
};

struct Desk {
    struct Job {
        int number = 0;
        std::uint16_t kind = 0;
        lagoon::String<20> text;
        double weights[3] = {};
    };
    enum class Phase : unsigned char { idle, busy };

    explicit Desk(int places = 3)
        : numbers{"numbers", places},
          wide{"wide", places + 1},
          jobs{"jobs", {.capacity = places}} {}

    lagoon::Counter total{"total"};
    lagoon::ShardedCounter hits{"hits"};
    lagoon::Array<long long> numbers;
    lagoon::Array<Job> wide;
    lagoon::Value<Phase> phase{"phase"};
    lagoon::Value<std::array<std::int64_t, 5>> several{"several"};
    lagoon::Lock lock{"lock"};
    lagoon::Pool<Job> jobs;
    lagoon::Group<Part> part{"part"};
};

/// What a plugin can do; a table of plain functions, so that any compiler's plugin has it.
struct Functions {
    /// Opens the arena, uses all of it, closes; 0 when all went well.
    int (*use)(const char* name) noexcept;
    /// Borrows and gives back `rounds` times by the inlined fast path; how many went well.
    long (*borrow)(Desk* desk, long rounds) noexcept;
    /// Opens the arena and keeps a lease and the lock; 0 when all went well.
    int (*hold)(const char* name) noexcept;
    /// Gives them back and closes.
    int (*let_go)() noexcept;
    /// Processes that the arena has, as the plugin's copy of the library sees it.
    int (*reap)(const char* name) noexcept;
    const char* compiler;
};

}  // namespace plugin

extern "C" const plugin::Functions* plugin_functions();
