#include "run.hpp"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

namespace tool_test {

namespace {

std::string variable(const char* name) {
    const char* value = std::getenv(name);
    return value != nullptr ? value : "";
}

pid_t start_shell(const std::string& line) {
    static const std::string path = [] {
        return variable("LAGOON_BIN") + ':' + variable("PATH");
    }();
    ::setenv("PATH", path.c_str(), 1);
    std::string command = line;
    std::vector<char> shell{'/', 'b', 'i', 'n', '/', 's', 'h', 0};
    std::vector<char> option{'-', 'c', 0};
    char* const arguments[] = {shell.data(), option.data(), command.data(), nullptr};
    pid_t pid = -1;
    if (::posix_spawn(&pid, "/bin/sh", nullptr, nullptr, arguments, environ) != 0) return -1;
    return pid;
}

}  // namespace

std::string directory() { return variable("LAGOON_DIR"); }
std::string unique(const std::string& name) { return name + '-' + std::to_string(::getpid()); }

lagoon::Arena<Desk> make_desk(const std::string& name) {
    auto desk = lagoon::Arena<Desk>::create(
        name, lagoon::ArenaOptions{
                  .lifetime = lagoon::Lifetime::persistent, .max_processes = 8, .max_threads = 8});
    desk->clusters.add(Cluster{lagoon::String<12>{"north"}, 7});
    desk->ports.add(8080);
    return desk;
}

std::string read_file(const std::string& path) {
    std::ifstream file{path, std::ios::binary};
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

void write_file(const std::string& path, const std::string& bytes) {
    std::ofstream{path, std::ios::binary} << bytes;
}

bool pause_a_little() {
    std::this_thread::sleep_for(std::chrono::milliseconds{10});
    return true;
}

int end_of(pid_t pid) {
    int status = 0;
    if (::waitpid(pid, &status, 0) != pid) return -1000;
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

Ran shell(const std::string& line) {
    const std::string out = directory() + "/out";
    const std::string err = directory() + "/err";
    Ran ran;
    ran.status = end_of(start_shell("{ " + line + "\n} >'" + out + "' 2>'" + err + "'"));
    ran.out = read_file(out);
    ran.err = read_file(err);
    return ran;
}

Ran lagoon_tool(const std::string& arguments) { return shell("lagoon " + arguments); }
pid_t start(const std::string& arguments) { return start_shell("exec lagoon " + arguments); }

}  // namespace tool_test
