from django.http import JsonResponse
def live(request):
    return JsonResponse({"status": "ok"})
ready=live
