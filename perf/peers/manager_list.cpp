#include "manager_list.hpp"

#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

namespace lagoon_perf {

ManagerList::ManagerList(std::uint32_t slots) {
    std::array<int, 2> ends{};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
        why_not_ = "socketpair failed";
        return;
    }
    socket_ = ends[0];
    std::string words[] = {"python3", LAGOON_PERF_MANAGER_LIST, std::to_string(slots)};
    char* argv[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, ends[1], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
    if (posix_spawnp(&child_, "python3", &files, nullptr, argv, environ) != 0) {
        child_ = 0;
        why_not_ = "there is no python3";
    }
    posix_spawn_file_actions_destroy(&files);
    close(ends[1]);
    if (child_ != 0 && answer().empty()) why_not_ = "multiprocessing.Manager() does not start";
}

ManagerList::~ManagerList() {
    if (socket_ >= 0) close(socket_);
    if (child_ != 0) waitpid(child_, nullptr, 0);
}

long long ManagerList::pairs(std::uint64_t count) {
    const std::string question = std::to_string(count) + "\n";
    if (send(socket_, question.data(), question.size(), MSG_NOSIGNAL) < 0) {
        throw std::runtime_error("the manager's process has ended");
    }
    return std::stoll(answer());
}

std::string ManagerList::answer() {
    std::string line;
    for (char letter = 0; read(socket_, &letter, 1) == 1 && letter != '\n';) line += letter;
    return line;
}

}  // namespace lagoon_perf
