// run.hpp: the command `lagoon`, run from a test, and an arena for it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include <catch2/catch.hpp>
#include <lagoon/lagoon.hpp>
#include <nlohmann/json.hpp>

namespace tool_test {

using Json = nlohmann::json;

struct Cluster {
    lagoon::String<12> name;
    std::uint64_t jobs_run = 0;
};
struct Wide {
    std::uint64_t a = 1, b = 2, c = 3;
};
struct Shard {
    lagoon::Counter hits{"hits"};
};
struct Desk {
    lagoon::Counter total{"total"};
    lagoon::ShardedCounter many{"many"};
    lagoon::Value<double> ratio{"ratio", 1.5};
    lagoon::Value<float> third{"third", 0.1F};
    lagoon::Value<bool> flag{"flag"};
    lagoon::Value<std::uint8_t> small{"small", 250};
    lagoon::Value<lagoon::String<20>> note{"note"};
    lagoon::Value<Wide> wide{"wide"};
    lagoon::Value<long double> precise{"precise", 2.5L};
    lagoon::Array<int> squares{"squares", {0, 1, 4, 9}};
    lagoon::Array<double> curve{"curve", 100};
    lagoon::Array<Wide> table{"table", 2};
    lagoon::Array<int> nothing{"nothing", 0};
    lagoon::Lock guard{"guard"};
    lagoon::Pool<Cluster> clusters{"clusters", {.capacity = 3}};
    lagoon::Pool<std::int32_t> ports{"ports", {.capacity = 2}};
    lagoon::Group<Shard> east{"east"};
};

/// A name of this process alone.
std::string unique(const std::string& name);
lagoon::Arena<Desk> make_desk(const std::string& name);

struct Ran {
    int status = -1;  // exit status, or minus the signal
    std::string out;
    std::string err;
};
/// A shell command line; `lagoon` in it is the command.
Ran shell(const std::string& line);
/// "lagoon " and the arguments.
Ran lagoon_tool(const std::string& arguments);
/// What it has printed, which is JSON.
inline Json parsed(const Ran& ran) {
    INFO(ran.err);
    REQUIRE(ran.status == 0);
    return Json::parse(ran.out);
}
/// A member of what `show` has printed.
inline Json member(const Json& arena, const std::string& name) {
    for (const auto& one : arena["members"]) {
        if (one["name"] == name) return one;
    }
    return {};
}
/// The same in the background: the process is the command itself.
pid_t start(const std::string& arguments);
int end_of(pid_t pid);
/// Repeats until it holds; false after half a minute.
template <class Holds>
bool eventually(Holds&& holds);

std::string directory();
std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& bytes);
bool pause_a_little();

template <class Holds>
bool eventually(Holds&& holds) {
    for (int i = 0; i < 3000; ++i) {
        if (holds()) return true;
        pause_a_little();
    }
    return false;
}

}  // namespace tool_test
