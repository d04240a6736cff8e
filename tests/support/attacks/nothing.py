import time
def run(address,*,seconds):
    time.sleep(seconds)
