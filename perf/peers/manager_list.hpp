// manager_list.hpp: Python's multiprocessing.Manager().list(), popped and appended to by a Python
// process that this one starts and asks over a pipe.
//
//   Shape      a Python process and the server process of its manager; only the pairs are timed, by
//              Python's own clock, not the question over the pipe
//   Errors     std::runtime_error when Python is there and its answers end
//   Death      both processes end when the pipe does
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace lagoon_perf {

class ManagerList {
public:
    explicit ManagerList(std::uint32_t slots);
    ~ManagerList();
    ManagerList(const ManagerList&) = delete;
    ManagerList& operator=(const ManagerList&) = delete;

    /// Empty when it runs, else why it does not.
    [[nodiscard]] const std::string& why_not() const { return why_not_; }
    /// Nanoseconds for so many pairs of pop and append.
    [[nodiscard]] long long pairs(std::uint64_t count);

private:
    [[nodiscard]] std::string answer();

    int socket_ = -1;
    int child_ = 0;
    std::string why_not_;
};

}  // namespace lagoon_perf
