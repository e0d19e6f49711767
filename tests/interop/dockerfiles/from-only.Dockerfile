FROM everything
