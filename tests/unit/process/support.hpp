// support.hpp: what the files of the process tests share.
#pragma once

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "desk.hpp"

namespace process_test {

using namespace std::chrono_literals;
using lagoon::Arena;
using lagoon::Ended;
using lagoon::Errc;
using lagoon::Error;
using lagoon::ExitStatus;
using lagoon::Process;
using lagoon::SpawnOptions;

inline std::string unique_name(const char* what) {
    static int count = 0;
    return std::string{what} + '-' + std::to_string(::getpid()) + '-' + std::to_string(++count);
}
inline Arena<Desk> make_desk() { return Arena<Desk>::create(unique_name("desk")); }

inline std::filesystem::path beside_us(const char* name) {
    return std::filesystem::read_symlink("/proc/self/exe").parent_path() / name;
}
inline std::string read_file(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream{path, std::ios::binary}.rdbuf();
    return text.str();
}
/// A path of our own in the directory of the arenas, removed with all that is there.
class Scratch {
public:
    explicit Scratch(const char* what)
        : path_{std::string{std::getenv("LAGOON_DIR")} + '/' + unique_name(what)} {}
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() { std::filesystem::remove_all(path_); }
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    std::string path_;
};

inline void wait_until_begun(const Arena<Desk>& desk, int count = 1) {
    while (desk->begun.load() < count) std::this_thread::sleep_for(1ms);
}

template <class Call>
Errc code_of(Call&& call) {
    try {
        call();
    } catch (const Error& error) {
        return error.errc();
    }
    return Errc{};
}

// Functions that run in workers.

inline int answer(Desk&) { return 42; }
inline void stay(Desk& desk, const std::string&) {
    desk.begun.add(1);
    while (desk.go_on.load() == 0) std::this_thread::sleep_for(1ms);
}

}  // namespace process_test
